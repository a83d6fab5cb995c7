"""What a profile may hold: its slots as people configure them, and the policy that extraction follows."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_NAME_CHARACTERS: Final = 100

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def unify_name(value: str) -> str:
    """A topic's or sub_topic's name as profiles hold it: lower case, words joined by `_`. Raises ValueError."""
    # A semicolon parts what is said in a memo, and where slots are joined their names stand in one.
    name = re.sub(r"[\s;；]+", "_", _CONTROL.sub(" ", value).strip().lower())
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"must hold 1 to {MAX_NAME_CHARACTERS} characters")
    return name


def _one_line(value: str | None) -> str | None:
    return " ".join(_CONTROL.sub(" ", value).split()) or None if value is not None else None


Name = Annotated[str, AfterValidator(unify_name)]
Description = Annotated[str | None, AfterValidator(_one_line)]
PolicyLanguage = Literal["auto", "en", "zh"]


class _SlotModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SubTopic(_SlotModel):
    """One slot. A name alone may stand for it."""

    name: Name = Field(description="Written in lower case with `_` for blanks and semicolons, whatever is given.")
    description: Description = Field(None, description="What belongs there; the model reads it.")
    update_description: Description = Field(None, description="How a newer value is joined with the older one.")
    validate_value: bool | None = Field(None, description="Whether a new value is checked before it is kept.")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping | cls):
            raise ValueError("must be a name, or a mapping with a name")
        return value


class ProfileTopic(_SlotModel):
    """A topic with its slots."""

    topic: Name = Field(description="Its name; lower case with `_` for blanks and semicolons, whatever is given.")
    description: Description = Field(None, description="What belongs there; the model reads it.")
    sub_topics: tuple[SubTopic, ...] = Field(description="Its slots; an empty list leaves them to the model.")

    @model_validator(mode="before")
    @classmethod
    def _check_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | cls):
            raise ValueError("must be a mapping with topic and sub_topics")
        return value


class EventTag(_SlotModel):
    """A tag that events may carry."""

    name: Name = Field(description="Its name.")
    description: Description = Field(None, description="What its value says.")


def join_topics(topics: Iterable[ProfileTopic]) -> tuple[ProfileTopic, ...]:
    """Each topic once, in the order of first mention, with the sub_topics of all its mentions.

    Of two descriptions the later one counts, and of two mentions of a sub_topic likewise.
    """
    joined: dict[str, ProfileTopic] = {}
    for topic in topics:
        earlier = joined.get(topic.topic)
        known = earlier.sub_topics if earlier is not None else ()
        sub_topics = {item.name: item for item in (*known, *topic.sub_topics)}
        description = topic.description or (earlier.description if earlier is not None else None)
        joined[topic.topic] = ProfileTopic(
            topic=topic.topic, description=description, sub_topics=tuple(sub_topics.values())
        )
    return tuple(joined.values())


# Memobase's default topics, so that profiles look as its users know them.
DEFAULT_SLOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "basic_info": ("name", "age", "gender", "birth_date", "nationality", "ethnicity", "language_spoken"),
    "contact_info": ("email", "phone", "city", "country"),
    "education": ("school", "degree", "major"),
    "demographics": ("marital_status", "number_of_children", "household_income"),
    "work": ("company", "title", "working_industry", "previous_projects", "work_skills"),
    "interest": ("books", "movies", "music", "foods", "sports"),
    "psychological": ("personality", "values", "beliefs", "motivations", "goals"),
    "life_event": ("marriage", "relocation", "retirement"),
}

DEFAULT_TOPICS: Final = tuple(
    ProfileTopic(topic=topic, sub_topics=tuple(SubTopic(name=name) for name in names))
    for topic, names in DEFAULT_SLOTS.items()
)

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


@dataclass(frozen=True)
class ProfilePolicy:
    """What one project's extraction asks for and keeps; a value, so it can be compared and hashed.

    `strict` keeps facts of `slots` only. `validate` shows every fact to the merge step's model, taken slot or not,
    unless its slot says otherwise. No `event_tags`: events carry none. `system_prompt` replaces the role text.
    """

    slots: tuple[ProfileTopic, ...] = DEFAULT_TOPICS
    strict: bool = False
    validate: bool = False
    max_sub_topics: int = 15
    max_memo_tokens: int = 128
    event_tags: tuple[EventTag, ...] = ()
    event_theme: str | None = None
    language: PolicyLanguage = "auto"
    system_prompt: str | None = None

    def slot(self, topic: str, sub_topic: str) -> SubTopic | None:
        """What is configured of a slot; None where it is not, or its topic leaves its slots to the model."""
        return self._by_name.get((topic, sub_topic))

    def allows(self, topic: str, sub_topic: str) -> bool:
        """Whether a fact may stand there: any, unless the policy is strict; a topic without sub_topics takes any."""
        return not self.strict or topic in self._open_topics or (topic, sub_topic) in self._by_name

    def validates(self, topic: str, sub_topic: str) -> bool:
        """Whether the first value of a slot is checked before it is kept; its own validate_value beats the policy."""
        slot = self.slot(topic, sub_topic)
        return self.validate if slot is None or slot.validate_value is None else slot.validate_value

    def single_valued(self, topic: str, sub_topic: str) -> bool:
        """Whether a newer statement simply replaces an older one; a slot with an update_description says it itself."""
        slot = self.slot(topic, sub_topic)
        return (topic, sub_topic) in SINGLE_VALUED and (slot is None or slot.update_description is None)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Kept, for a policy is looked up with each call, and holds hundreds of names.
        return hash(tuple(getattr(self, item.name) for item in fields(self)))

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], SubTopic]:
        return {(topic.topic, slot.name): slot for topic in self.slots for slot in topic.sub_topics}

    @cached_property
    def _open_topics(self) -> frozenset[str]:
        return frozenset(topic.topic for topic in self.slots if not topic.sub_topics)
