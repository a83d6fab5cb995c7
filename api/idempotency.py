"""Calls that are sent again: under the same key they name the same thing."""

from typing import Annotated

from fastapi import Header

from api.errors import ApiError
from schemas.identity import derived_uuid
from schemas.records import MAX_ID_BYTES, check_id

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=MAX_ID_BYTES,
        description="Sent again with the same key and content, a call changes nothing and answers the same id.",
    ),
]


def keyed_id(key: str, *names: str) -> str:
    """The id of whatever is made under this key for these names: UUIDv5, so that a retry names the same.

    Raises ApiError (400) for a key that is none; an empty one would be everybody's.
    """
    try:
        check_id(key)
    except ValueError as error:
        raise ApiError(400, f"Idempotency-Key: {error}") from None
    return str(derived_uuid(*names, key))
