"""The slots that a profile is asked for: the default ones, as configured, and which of them hold one value only."""

from collections.abc import Iterable
from typing import Final

from schemas.profile_schema import ProfileTopic, SubTopic, join_topics
from schemas.settings import ProfileSettings

# Memobase's default topics, so that profiles look as its users know them.
DEFAULT_SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "basic_info": ("name", "age", "gender", "birth_date", "nationality", "ethnicity", "language_spoken"),
    "contact_info": ("email", "phone", "city", "country"),
    "education": ("school", "degree", "major"),
    "demographics": ("marital_status", "number_of_children", "household_income"),
    "work": ("company", "title", "working_industry", "previous_projects", "work_skills"),
    "interest": ("books", "movies", "music", "foods", "sports"),
    "psychological": ("personality", "values", "beliefs", "motivations", "goals"),
    "life_event": ("marriage", "relocation", "retirement"),
}

# A newer statement replaces an older one; every other slot gathers what is said.
SINGLE_VALUED: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("basic_info", "name"),
        ("basic_info", "age"),
        ("basic_info", "gender"),
        ("basic_info", "birth_date"),
        ("contact_info", "email"),
        ("contact_info", "phone"),
        ("contact_info", "city"),
        ("contact_info", "country"),
        ("demographics", "marital_status"),
        ("demographics", "number_of_children"),
        ("demographics", "household_income"),
        ("work", "company"),
        ("work", "title"),
    }
)


def slots_of(profile: ProfileSettings) -> tuple[ProfileTopic, ...]:
    """Each topic once: what overwrites the default ones, else those and the additional ones."""
    if profile.overwrite_user_profiles is not None:
        return join_topics(profile.overwrite_user_profiles)
    return join_topics([*_DEFAULT_TOPICS, *profile.additional_user_profiles])


def render_slots(topics: Iterable[ProfileTopic]) -> str:
    """A line a topic, as prompts show them, each description behind its name in brackets; `-` where there is none."""
    lines = []
    for topic in topics:
        names = ", ".join(_described(slot.name, slot.description) for slot in topic.sub_topics)
        lines.append(f"- {_described(topic.topic, topic.description)}" + (f": {names}" if names else ""))
    return "\n".join(lines) or "-"


def _described(name: str, description: str | None) -> str:
    return f"{name} ({description})" if description else name


_DEFAULT_TOPICS: Final = tuple(
    ProfileTopic(topic=topic, sub_topics=tuple(SubTopic(name=name) for name in names))
    for topic, names in DEFAULT_SLOTS.items()
)
