"""Shapes of what the routes that edit a profile take and answer."""

from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.models.fields import Words

_ID: Final = "7f9c24e8-3b12-4fef-91e0-0cb1a9f0a1c2"
_ATTRIBUTES: Final[Any] = {"topic": "work", "sub_topic": "company"}


class ProfileBody(BaseModel):
    """A statement about the user, and where in the profile it belongs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"content": "Acme", "attributes": _ATTRIBUTES}]})

    content: Words = Field(description="What is known; must not be blank.")
    attributes: dict[str, Any] | None = Field(
        None,
        description="`topic` and `sub_topic`, in lower case with `_` for blanks, or made so; errno 520 if one is "
        "missing. To change an entry, null leaves it in its place.",
    )


class MadeEntry(BaseModel):
    """The entry that holds the statement."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _ID}]})

    id: UUID = Field(description="Id of the entry.")
