"""The slots of a profile as people configure them: topics, their sub_topics, and what belongs there."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_NAME_CHARACTERS: Final = 100

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def unify_name(value: str) -> str:
    """A topic's or sub_topic's name as profiles hold it: lower case, words joined by `_`. Raises ValueError."""
    name = re.sub(r"\s+", "_", _CONTROL.sub(" ", value).strip().lower())
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"must hold 1 to {MAX_NAME_CHARACTERS} characters")
    return name


def _one_line(value: str | None) -> str | None:
    return " ".join(_CONTROL.sub(" ", value).split()) or None if value is not None else None


Name = Annotated[str, AfterValidator(unify_name)]
Description = Annotated[str | None, AfterValidator(_one_line)]


class _SlotModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SubTopic(_SlotModel):
    """One slot. A name alone may stand for it."""

    name: Name = Field(description="Written in lower case with `_` for blanks, whatever is given.")
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

    topic: Name = Field(description="Its name; lower case with `_` for blanks, whatever is given.")
    description: Description = Field(None, description="What belongs there; the model reads it.")
    sub_topics: tuple[SubTopic, ...] = Field(description="Its slots; an empty list leaves them to the model.")

    @model_validator(mode="before")
    @classmethod
    def _check_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | cls):
            raise ValueError("must be a mapping with topic and sub_topics")
        return value


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
