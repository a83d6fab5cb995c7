"""Shapes of what the routes of users take and answer."""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from api.models.fields import JsonObject
from schemas.records import Identifier

FIELDS: Final[Any] = {"name": "Ann", "plan": "pro"}
DATA: Final = "Anything of yours that is kept with the user; nested 64 levels deep at most."


class UserBody(BaseModel):
    """A user to be made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "ann", "data": FIELDS}, {"data": None}]})

    data: JsonObject | None = Field(None, description=DATA)
    id: Identifier | None = Field(
        None, description="The user's id, any string of 1 to 255 bytes; a UUID is made where none is given."
    )


class MadeUser(BaseModel):
    """A user that there is now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "ann"}]})

    id: str = Field(description="The user's id.")


class User(BaseModel):
    """A user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": None,
                    "data": FIELDS,
                    "created_at": "2026-11-20T10:00:00+00:00",
                    "updated_at": "2026-11-20T10:05:00+00:00",
                }
            ]
        }
    )

    id: None = Field(description="Always null, as Memobase answers it.")
    data: dict[str, Any] | None = Field(description="What was stored with the user; null where nothing was.")
    created_at: datetime | None = Field(
        description="When the user was made, or their first message was sent or extracted; null in the moments in "
        "which that is not known."
    )
    updated_at: datetime | None = Field(description="When anything in the user's memory changed last.")
