"""Which numbers of errors each route may answer, and what they mean."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, Field


class Refusal(BaseModel):
    """An error. The text names what to change, and quotes nothing of the request or the memory."""

    data: None = Field(None, description="Always null.")
    errno: int = Field(ge=1, description="Which kind of error.")
    errmsg: str = Field(description="What is wrong.")


MEANINGS: Final[Mapping[int, str]] = {
    400: "something that was sent does not hold",
    401: "the token is missing, not known or revoked, or its project is suspended",
    403: "the token may not do this",
    404: "there is no such thing",
    409: "it is there already, and differs",
    410: "what follows is not kept any more",
    413: "the body is larger than api.max_body_bytes",
    429: "too many streams are open",
    500: "a defect; the log has more under the request id",
    501: "this is switched off here",
    503: "broker, database, worker or model is away; Retry-After says when to try again",
    504: "it was not done in time, and goes on; the same call again waits for it",
    520: "the entry's attributes do not hold, or the text could not be extracted and was parked",
}

EXAMPLES: Final[Mapping[int, str]] = {
    400: "query: must not be empty",
    401: "the token is not known",
    403: "only the root token may choose a project by X-Memostream-Project",
    404: "there is no such user",
    409: "id: another blob with this id and other content came before; change one id",
    410: "Last-Event-ID or after: what follows it is not kept any more",
    413: "the body is larger than api.max_body_bytes, 2097152 bytes",
    429: "this project has as many change streams open as it may",
    500: "internal error; the log has more under request id 5f1c2b3a4d5e6f70",
    501: "embedding.enabled is false: there is nothing to search by meaning",
    503: "not available at the moment, try again",
    504: "what was sent is safe and goes on, but it was not done within 55 s",
    520: "attributes.topic: is missing",
}

# Of every route that needs a token, and of every one that takes a body.
COMMON: Final = (400, 401, 403, 500, 503)
WITH_BODY: Final = (413,)

# Beyond those; keyed by method and path below /api/v1.
_OWN: Final[Mapping[tuple[str, str], Sequence[int]]] = {
    ("POST", "/users"): (409,),
    ("GET", "/users/{user_id}"): (404,),
    ("PUT", "/users/{user_id}"): (404,),
    ("DELETE", "/users/{user_id}"): (404,),
    ("POST", "/blobs/insert/{user_id}"): (409,),
    ("GET", "/blobs/{user_id}/{blob_id}"): (404,),
    ("GET", "/blobs/{user_id}/{blob_id}/state"): (404,),
    ("POST", "/users/profile/{user_id}"): (404, 520),
    ("POST", "/users/profile/import/{user_id}"): (409, 504, 520),
    ("PUT", "/users/profile/{user_id}/{profile_id}"): (404, 409, 520),
    ("DELETE", "/users/profile/{user_id}/{profile_id}"): (404,),
    ("POST", "/users/buffer/{user_id}/{buffer_type}"): (504,),
    ("PUT", "/users/event/{user_id}/{event_id}"): (404,),
    ("DELETE", "/users/event/{user_id}/{event_id}"): (404,),
    ("GET", "/users/event/search/{user_id}"): (501,),
    ("GET", "/users/event_gist/search/{user_id}"): (501,),
    ("GET", "/users/search/{user_id}"): (501,),
    ("POST", "/users/roleplay/proactive/{user_id}"): (501,),
    ("GET", "/changes"): (410, 429),
}


def refusals_of(method: str, path: str, *, has_body: bool) -> list[int]:
    """In rising order; `path` is below /api/v1."""
    return sorted({*COMMON, *(WITH_BODY if has_body else ()), *_OWN.get((method, path), ())})
