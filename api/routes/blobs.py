"""Blobs: inserted into Kafka, found wherever they are, and deleted with what memory holds of them alone."""

from typing import Annotated, Any, Final

import structlog
from fastapi import Path, Query

from api.blob_texts import read_blob
from api.envelope import Envelope, JsonResponse, ok
from api.errors import ApiError
from api.finding import list_blobs, locate
from api.idempotency import IdempotencyKey
from api.inputs import BlobId, Flag, UserId
from api.inserting import Insertion, insertion_of
from api.models.blobs import BlobBody, BlobIds, BlobStateAnswer, InsertedBlob, StoredBlob
from api.routing import new_router
from api.scope import Scope, ScopeDep
from api.sending import send_once
from api.waiting import Waited, wait_for_blob
from schemas.errors import InvalidRecord, RetryLater
from schemas.records import BlobType
from schemas.windows import Position
from storage.blob_erasure import erase_blob

MAX_PAGE_SIZE: Final = 10_000
MAX_PAGE: Final = 1_000_000

log = structlog.get_logger()
router = new_router("blobs")

PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Blobs of a page.")]
Page = Annotated[int, Query(ge=0, le=MAX_PAGE, description="Number of the page, from 0 on.")]
Wait = Annotated[
    Flag,
    Query(
        description="Wait until it is known what came of it, api.wait_timeout_s at most. What was sent goes on after "
        "that, so nothing is sent again."
    ),
]


@router.post("/blobs/insert/{user_id}", response_model=Envelope[InsertedBlob], summary="Insert a blob")
async def insert_blob(
    scope: ScopeDep,
    user_id: UserId,
    body: BlobBody,
    wait_process: Wait = False,
    idempotency_key: IdempotencyKey = None,
) -> JsonResponse:
    """The answer has an id when the blob is in Kafka on all replicas; it is then applied, or parked with the reason.

    A user exists from the first blob on. An error 503 means that the blob was not acknowledged: send it again, with the
    same id or `Idempotency-Key` if it may not be there twice. With `wait_process=true` the answer comes when the blob
    is buffered, or when its window is extracted.
    """
    gateway = scope.gateway
    try:
        insertion = insertion_of(body, scope.project_id, user_id, idempotency_key, gateway.new_id())
        if insertion.is_empty:
            answer = InsertedBlob(id=insertion.blob_id, chat_results=(), state=None, reason=None)
        else:
            answer = await _insert(scope, user_id, insertion, wait=wait_process)
    except (ApiError, InvalidRecord, RetryLater):
        gateway.inserts.count(scope.project_id, stored=False)
        raise
    gateway.inserts.count(scope.project_id, stored=True)
    return ok(answer)


@router.get("/blobs/{user_id}/{blob_id}/state", response_model=Envelope[BlobStateAnswer], summary="Where a blob stands")
async def get_blob_state(scope: ScopeDep, user_id: UserId, blob_id: BlobId) -> JsonResponse:
    """Also of a blob whose text is not kept any more."""
    waited = (await locate(scope, user_id, blob_id)).waited
    return ok(BlobStateAnswer(id=blob_id, state=waited.state, reason=waited.reason))


@router.get("/blobs/{user_id}/{blob_id}", response_model=Envelope[StoredBlob], summary="Get a blob")
async def get_blob(scope: ScopeDep, user_id: UserId, blob_id: BlobId) -> JsonResponse:
    """The text comes from Postgres where `storage.persistent_chat_blobs` keeps it, else from `chat-messages`, as long
    as that holds it. After that the answer is errno 404, and the state stays in the lists.
    """
    return ok(await read_blob(scope, user_id, blob_id))


@router.delete("/blobs/{user_id}/{blob_id}", response_model=Envelope[None], summary="Delete a blob")
async def delete_blob(scope: ScopeDep, user_id: UserId, blob_id: BlobId) -> JsonResponse:
    """With its text, its quotes and what memory holds of it alone; entries and events that rest on other messages, too,
    stay without it. The blob is dropped wherever it is on its way. A success also where there is no such blob.
    """
    gateway = scope.gateway
    async with scope.transaction() as connection:
        erased = await erase_blob(connection, scope.project_id, user_id, blob_id, gateway.now(), gateway.new_id)
    log.info(
        "blob.deleted",
        project_id=scope.project_id,
        profile_changes=erased.profile_changes,
        event_changes=erased.event_changes,
    )
    return ok()


@router.get("/users/blobs/{user_id}/{blob_type}", response_model=Envelope[BlobIds], summary="List a user's blobs")
async def list_user_blobs(
    scope: ScopeDep,
    user_id: UserId,
    blob_type: Annotated[BlobType, Path(description="Type of the blobs.")],
    page: Page = 0,
    page_size: PageSize = 10,
    states: Annotated[Flag, Query(description="Tell the state of each, too.")] = False,
) -> JsonResponse:
    """The oldest first: those in memory and in `dead-letters`, then those on their way. Deleted ones are not listed."""
    found = await list_blobs(scope, user_id, blob_type, limit=page_size, offset=page * page_size)
    answer: dict[str, Any] = {"ids": [one.blob_id for one in found]}
    if states:
        answer["blobs"] = [{"id": one.blob_id, "state": one.state, "reason": one.reason} for one in found]
    return ok(answer)


async def _insert(scope: Scope, user_id: str, insertion: Insertion, *, wait: bool) -> InsertedBlob:
    waited = await send_once(scope, user_id, insertion)
    if isinstance(waited, Position):
        position = waited
        waited = await wait_for_blob(scope, user_id, insertion.blob_id, position) if wait else Waited("unread")
    return InsertedBlob(id=insertion.blob_id, chat_results=waited.results, state=waited.state, reason=waited.reason)
