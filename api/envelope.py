"""The form of every answer: `{"data", "errno", "errmsg"}`, as Memobase's clients read it."""

from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response

Data = TypeVar("Data")


class Envelope(BaseModel, Generic[Data]):
    """What a call answers; `errno` 0 is success."""

    data: Data = Field(description="What was asked for; null in an error.")
    errno: int = Field(0, description="0, or the number of the error.")
    errmsg: str = Field("", description="What is wrong; empty in a success.")


class JsonResponse(Response):
    """An answer that orjson writes; models must have been dumped before."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_of_driver)


def ok(data: Any = None) -> JsonResponse:
    """A success. Takes pydantic models, dataclasses, and all that orjson writes; nothing is validated again."""
    return JsonResponse({"data": _plain(data), "errno": 0, "errmsg": ""})


def error_body(errno: int, errmsg: str) -> dict[str, Any]:
    return {"data": None, "errno": errno, "errmsg": errmsg}


def _of_driver(value: Any) -> Any:
    # asyncpg has a class of its own for them, which orjson does not know.
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be answered")


def _plain(data: Any) -> Any:
    if isinstance(data, BaseModel):
        return data.model_dump(mode="json")
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    return data
