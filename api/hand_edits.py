"""What routes that edit memory share: the transaction, whether there is such a user, and what may be written."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from api.errors import ApiError
from api.inputs import without_nul
from api.known_users import find_on_its_way, has_open_windows
from api.scope import Scope
from extraction.memos import SEPARATOR, pieces_of
from schemas.profile_schema import ProfilePolicy, unify_name
from storage.editing import Edits, Taken
from storage.editing_profiles import SlotKey
from storage.editing_users import read_user

NO_USER: Final = "there is no such user"
NO_ENTRY: Final = "there is no such entry in the user's profile"
NO_EVENT: Final = "there is no such event of the user"


@asynccontextmanager
async def editing(scope: Scope) -> AsyncIterator[Edits]:
    """One transaction, which commits on leaving. Raises ApiError 409 where something else stands in the way."""
    gateway = scope.gateway
    # What the topics of changes take as one record, less the room for headers.
    max_payload_bytes = 2 * gateway.settings.buffer.max_blob_bytes
    try:
        async with scope.transaction() as connection:
            yield Edits(connection, gateway.now(), gateway.new_id, max_payload_bytes)
    except Taken as error:
        raise ApiError(409, str(error)) from None


async def require_user(scope: Scope, user_id: str) -> None:
    """Raises ApiError 404 for a user of whom there is neither a row nor a message, and RetryLater."""
    if not await _is_known(scope, user_id):
        raise ApiError(404, NO_USER)


async def require_any_trace(scope: Scope, user_id: str) -> None:
    """As `require_user`, and slower where there is no such user: for a 404 that must hold also in a second."""
    if not await _is_known(scope, user_id) and not await has_open_windows(scope, user_id):
        raise ApiError(404, NO_USER)


async def _is_known(scope: Scope, user_id: str) -> bool:
    async with scope.connection() as connection:
        row = await read_user(connection, scope.project_id, user_id)
    return row is not None or await find_on_its_way(scope, user_id) is not None


def slot_of(attributes: dict[str, Any] | None) -> SlotKey:
    """Topic and sub_topic, as extraction names them; raises ApiError 520, as Memobase does for what is none."""
    named = attributes or {}
    found = []
    for key in ("topic", "sub_topic"):
        try:
            found.append(unify_name(without_nul(named[key])))
        except KeyError:
            raise ApiError(520, f"attributes.{key}: is missing") from None
        except ValueError as error:
            raise ApiError(520, f"attributes.{key}: {error}") from None
        except (AttributeError, TypeError):
            raise ApiError(520, f"attributes.{key}: must be a text") from None
    return found[0], found[1]


def stated(content: str) -> str:
    """What an entry is to say; raises ApiError 400 where it says nothing."""
    if not content.strip():
        raise ApiError(400, "content: must not be blank; delete the entry to have none")
    return content


def joining(policy: ProfilePolicy, slot: SlotKey) -> Callable[[str, str], str]:
    """What a slot holds when something is added to it: all statements once, or the new one where it holds one only."""

    def join(held: str, said: str) -> str:
        if policy.single_valued(*slot):
            return said
        known = pieces_of(held)
        news = [piece for piece in pieces_of(said) or [said] if piece not in known]
        return SEPARATOR.join([held, *news]) if news else held

    return join
