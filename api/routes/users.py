"""Users: made, read, changed and deleted by whoever runs the application that talks to them."""

from typing import Annotated, Any, Final

import structlog
from fastapi import Body

from api.envelope import Envelope, JsonResponse, ok
from api.errors import ApiError
from api.hand_edits import NO_USER, editing, require_any_trace, require_user
from api.idempotency import IdempotencyKey, keyed_id
from api.inputs import UserId
from api.known_users import find_on_its_way
from api.models.fields import JsonObject
from api.models.users import FIELDS, MadeUser, User, UserBody
from api.routing import new_router
from api.scope import Scope, ScopeDep
from schemas.errors import RetryLater
from schemas.records import Command
from schemas.windows import Position
from storage.editing_users import create_user, read_user, replace_fields
from storage.forget_now import Forgetting, forget_now

# For the buffer to let go of a user who is deleted; it will in any case.
BUFFER_TIMEOUT_S: Final = 2.0

log = structlog.get_logger()

router = new_router("users")


@router.post("/users", response_model=Envelope[MadeUser], summary="Make a user")
async def post_user(scope: ScopeDep, body: UserBody, idempotency_key: IdempotencyKey = None) -> JsonResponse:
    """A user need not be made: whoever sends a message is one.

    The same id with the same data is the same user, so this call may be sent again; with other data it is errno 409. A
    user who is known from messages only takes the data.
    """
    if body.id is not None:
        user_id = body.id
    elif idempotency_key is not None:
        user_id = keyed_id(idempotency_key, "user", scope.project_id)
    else:
        user_id = str(scope.gateway.new_id())
    async with editing(scope) as edits:
        await create_user(edits, scope.project_id, user_id, body.data)
    return ok({"id": user_id})


@router.get("/users/{user_id}", response_model=Envelope[User], summary="Read a user")
async def get_user(scope: ScopeDep, user_id: UserId) -> JsonResponse:
    """Also one of whom there are only messages yet; errno 404 for anybody else."""
    async with scope.connection() as connection:
        row = await read_user(connection, scope.project_id, user_id)
    if row is not None:
        return ok(_user(row.additional_fields, row.created_at, row.updated_at))
    found = await find_on_its_way(scope, user_id)
    if found is None:
        raise ApiError(404, NO_USER)
    return ok(_user(None, found.first_at, found.last_at))


@router.put("/users/{user_id}", response_model=Envelope[MadeUser], summary="Replace a user's data")
async def put_user(
    scope: ScopeDep, user_id: UserId, body: Annotated[JsonObject, Body(examples=[{"data": FIELDS}, FIELDS])]
) -> JsonResponse:
    """The body takes the place of all that was stored with the user.

    A body that holds nothing but `data`, as Memobase's clients send it, is taken for what `data` holds, as
    `POST /users` takes it.
    """
    await require_user(scope, user_id)
    async with editing(scope) as edits:
        await replace_fields(edits, scope.project_id, user_id, _fields_in(body))
    return ok({"id": user_id})


@router.delete("/users/{user_id}", response_model=Envelope[None], summary="Delete a user and all that is known of them")
async def delete_user(scope: ScopeDep, user_id: UserId) -> JsonResponse:
    """Memory, history, kept texts, and what is on its way; consumers of `profiles` get a tombstone.

    What was sent before is not extracted any more, wherever it is; what is sent after begins a new memory. The
    messages themselves stay on their topic as long as it keeps them.
    """
    await require_any_trace(scope, user_id)
    gateway = scope.gateway
    parts = Forgetting(_NotedLog(scope), gateway.end_offsets, scope.transaction, gateway.now, gateway.new_id)
    done = await forget_now(parts, scope.project_id, user_id)
    log.info("user.deleted", project_id=scope.project_id, command_id=done.command_id)
    await _let_go(scope, user_id, done.position)
    return ok()


class _NotedLog:
    """Remembers that something was sent of a user, for the calls that follow."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def send_command(self, command: Command) -> Position:
        position = await self._scope.gateway.message_log.send_command(command)
        self._scope.gateway.recent.note(self._scope.project_id, command.user_id, position)
        return position


async def _let_go(scope: Scope, user_id: str, position: Position) -> None:
    """Wait until the buffer has come to the command, for a while."""
    try:
        await scope.gateway.buffers.view(scope.project_id, user_id, past=position, wait_s=BUFFER_TIMEOUT_S)
    except RetryLater:
        return


def _fields_in(body: dict[str, Any]) -> dict[str, Any] | None:
    inner = body.get("data")
    if body.keys() == {"data"} and (inner is None or isinstance(inner, dict)):
        return inner
    return body


def _user(fields: Any, created_at: Any, updated_at: Any) -> dict[str, Any]:
    return {"data": fields, "id": None, "created_at": created_at, "updated_at": updated_at}
