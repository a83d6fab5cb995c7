"""The slots of a profile as prompts show them."""

from collections.abc import Iterable

from schemas.profile_schema import ProfileTopic


def render_slots(topics: Iterable[ProfileTopic]) -> str:
    """A line a topic, as prompts show them, each description behind its name in brackets; `-` where there is none."""
    lines = []
    for topic in topics:
        names = ", ".join(described(slot.name, slot.description) for slot in topic.sub_topics)
        lines.append(f"- {described(topic.topic, topic.description)}" + (f": {names}" if names else ""))
    return "\n".join(lines) or "-"


def described(name: str, description: str | None) -> str:
    """The name, with its description in brackets."""
    return f"{name} ({description})" if description else name
