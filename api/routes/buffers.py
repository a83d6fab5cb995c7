"""The buffer of a user: flushing it, looking into it, and importing a text through it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import Path, Query

from api.envelope import Envelope, JsonResponse, ok
from api.finding import list_by_state
from api.idempotency import IdempotencyKey
from api.inputs import Flag, UserId
from api.inserting import insertion_of
from api.models.blobs import BlobBody, BufferIds, ChatModal, ImportBody
from api.routes.blobs import Page, PageSize
from api.routing import new_router
from api.scope import Scope, ScopeDep
from api.sending import require_taken, send_once
from api.waiting import wait_for_command
from schemas.blob_states import BlobState
from schemas.records import BlobType, Command
from schemas.windows import WindowCommand
from storage.blob_listing import list_recorded
from storage.ledger import command_ledger_id

Status = Literal["idle", "processing", "failed", "done"]

# Memobase's words for a blob in its buffer, in ours.
ON_THEIR_WAY: Final[Mapping[Status, tuple[BlobState, ...]]] = {
    "idle": ("buffered",),
    "processing": ("extracting", "held"),
}
RECORDED: Final[Mapping[Status, tuple[BlobState, ...]]] = {"failed": ("parked",), "done": ("applied",)}

router = new_router("buffer")

BufferType = Annotated[BlobType, Path(description="Type of the blobs.")]


@router.post(
    "/users/buffer/{user_id}/{buffer_type}",
    response_model=Envelope[Sequence[ChatModal] | None],
    summary="Flush a buffer",
)
async def flush_buffer(
    scope: ScopeDep,
    user_id: UserId,
    buffer_type: BufferType,
    wait_process: Annotated[
        Flag, Query(description="Wait until all that was sent before is done, api.wait_timeout_s at most.")
    ] = False,
) -> JsonResponse:
    """Close the window of what is buffered now. Without `wait_process` the data is null.

    With it, what the windows changed that this flush has closed: an empty list if nothing was buffered. errno 504 where
    that takes too long: the flush goes on, and another one does no harm.
    """
    ledger_id = await _flush(scope, user_id, buffer_type)
    return ok(await wait_for_command(scope, user_id, ledger_id) if wait_process else None)


@router.get(
    "/users/buffer/capacity/{user_id}/{buffer_type}",
    response_model=Envelope[BufferIds],
    summary="List what is in a buffer",
)
async def get_buffer(
    scope: ScopeDep,
    user_id: UserId,
    buffer_type: BufferType,
    status: Annotated[
        Status,
        Query(
            description="idle: buffered. processing: extracting or held. failed: parked. done: applied.",
        ),
    ] = "processing",
    page: Page = 0,
    page_size: PageSize = 1000,
) -> JsonResponse:
    """Ids of blobs, the oldest first."""
    offset = page * page_size
    if status in RECORDED:
        async with scope.connection() as connection:
            listed = await list_recorded(
                connection,
                scope.project_id,
                user_id,
                buffer_type,
                limit=page_size,
                offset=offset,
                states=RECORDED[status],
            )
        return ok({"ids": [one.blob_id for one in listed]})
    states = ON_THEIR_WAY[status]
    ids = await list_by_state(scope, user_id, buffer_type, states, limit=page_size, offset=offset)
    return ok({"ids": ids})


@router.post("/users/profile/import/{user_id}", response_model=Envelope[None], summary="Learn a profile from a text")
async def import_profile(
    scope: ScopeDep, user_id: UserId, body: ImportBody, idempotency_key: IdempotencyKey = None
) -> JsonResponse:
    """The text is extracted as a message of the user's, in a window of its own; the answer comes when that is done.

    errno 504 where it takes longer than api.wait_timeout_s: it goes on all the same, and the same call with the same
    `Idempotency-Key` waits on. errno 520 where the text was parked.
    """
    if not body.context.strip():
        return ok()
    messages = [{"role": "user", "content": body.context}]
    blob = BlobBody(blob_type="chat", blob_data={"messages": messages})
    insertion = insertion_of(blob, scope.project_id, user_id, idempotency_key, scope.gateway.new_id())
    await _flush(scope, user_id, "chat")
    await send_once(scope, user_id, insertion)
    await wait_for_command(scope, user_id, await _flush(scope, user_id, "chat"))
    await require_taken(scope, user_id, insertion)
    return ok()


async def _flush(scope: Scope, user_id: str, blob_type: BlobType) -> UUID:
    """Send a flush; returns the id that its row in the ledger will have."""
    gateway = scope.gateway
    command = Command(
        command="flush",
        id=str(gateway.new_id()),
        project_id=scope.project_id,
        user_id=user_id,
        blob_type=blob_type,
    )
    position = await gateway.message_log.send_command(command)
    gateway.recent.note(scope.project_id, user_id, position)
    on_its_way = WindowCommand(command=command, command_id=str(command.id), position=position)
    return command_ledger_id(on_its_way)
