"""Types of path and query parameters: what a request may say where, decoded and checked."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Path
from pydantic import AfterValidator, BeforeValidator, StringConstraints

from api.segments import decoded
from schemas.records import MAX_ID_BYTES, UtcDatetime, check_id

TRUE: Final = frozenset({"true", "1", "yes", "on", "t", "y"})
FALSE: Final = frozenset({"false", "0", "no", "off", "f", "n"})


def without_nul(text: str) -> str:
    """Postgres holds none."""
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE or word in FALSE:
            return word in TRUE
    return value


def _with_sign(value: Any) -> Any:
    if isinstance(value, str) and "T" in value:
        return value.replace(" ", "+")
    return value


_ID: Final = {"minLength": 1, "maxLength": MAX_ID_BYTES}

Segment = BeforeValidator(decoded)
UserId = Annotated[
    str, Segment, AfterValidator(check_id), Path(description="Any string of 1 to 255 bytes.", json_schema_extra=_ID)
]
BlobId = Annotated[
    str, Segment, AfterValidator(check_id), Path(description="Any string of 1 to 255 bytes.", json_schema_extra=_ID)
]
ProfileId = Annotated[UUID, Path(description="Id of an entry of the profile.")]
EventId = Annotated[UUID, Path(description="Id of an event.")]
# A parameter like wait_process=False, as Python's clients write it.
Flag = Annotated[bool, BeforeValidator(_truth)]
# Words of a query. The server takes 64 KiB of path and query, where a character may need 12.
Text = Annotated[str, AfterValidator(without_nul), StringConstraints(max_length=5000)]
# A time with an offset, as answers have it: its plus sign is a space in a query, where it was not percent-encoded.
QueryTime = Annotated[UtcDatetime, BeforeValidator(_with_sign)]
