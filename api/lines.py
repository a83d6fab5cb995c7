"""Memory as lines of a prompt, in the form that Memobase's users know."""

from datetime import UTC, datetime


def profile_line(topic: str, sub_topic: str, content: str) -> str:
    """What the filter counts; a context puts `- ` before it."""
    return f"{topic}::{sub_topic}: {content}"


def gist_line(text: str, occurred_at: datetime) -> str:
    """A line of a list with the day on which it happened, in UTC."""
    bullet = "" if text.startswith("- ") else "- "
    return f"{bullet}{text} [mention {occurred_at.astimezone(UTC):%Y/%m/%d}] // event"
