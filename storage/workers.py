"""Which workers are alive, by heartbeats that expire by the database's clock; the gateway looks here whom to ask."""

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import EmbeddingModel, ExtractorIdentity
from storage.tables import workers


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """A process of `memostream worker`. `url` and `token` are there where it holds buffers and tells of them.

    `embeds_by` is None where it makes no embeddings, `extractor` where it does not extract; it is the server's, without
    what projects put in its place.
    """

    worker_id: UUID
    name: str
    topic_prefix: str
    roles: tuple[str, ...]
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    embeds_by: EmbeddingModel | None = None
    extractor: ExtractorIdentity | None = None


async def beat(connection: AsyncConnection, worker: RegisteredWorker, lifetime_s: float) -> None:
    """Count as alive for another `lifetime_s`, and forget those whose time is up."""
    now = func.clock_timestamp()
    entry = insert(workers).values(
        worker_id=worker.worker_id,
        name=worker.name,
        topic_prefix=worker.topic_prefix,
        roles=list(worker.roles),
        url=worker.url,
        token=worker.token,
        embedding_model=worker.embeds_by and worker.embeds_by.name,
        embedding_dimension=worker.embeds_by and worker.embeds_by.dimension,
        extractor=worker.extractor and asdict(worker.extractor),
        started_at=now,
        expires_at=now + timedelta(seconds=lifetime_s),
    )
    await connection.execute(
        entry.on_conflict_do_update(index_elements=["worker_id"], set_={"expires_at": entry.excluded.expires_at})
    )
    # Two that wait for each other's rows would be a deadlock.
    expired = select(workers.c.worker_id).where(workers.c.expires_at <= now).with_for_update(skip_locked=True)
    await connection.execute(delete(workers).where(workers.c.worker_id.in_(expired)))


async def leave(connection: AsyncConnection, worker_id: UUID) -> None:
    """Be gone at once, so that nobody asks a worker that has stopped."""
    await connection.execute(delete(workers).where(workers.c.worker_id == worker_id))


async def read_workers(connection: AsyncConnection, topic_prefix: str) -> tuple[RegisteredWorker, ...]:
    """The workers on these topics that are alive, the newest first."""
    query = (
        select(workers)
        .where(workers.c.topic_prefix == topic_prefix, workers.c.expires_at > func.clock_timestamp())
        .order_by(workers.c.started_at.desc(), workers.c.worker_id)
    )
    return tuple(
        RegisteredWorker(row.worker_id, row.name, row.topic_prefix, tuple(row.roles), row.url, row.token)
        for row in (await connection.execute(query)).all()
    )


async def extraction_workers(
    connection: AsyncConnection, topic_prefix: str
) -> list[tuple[str, ExtractorIdentity | None]]:
    """Name and extractor of each living worker on these topics that extracts; an older one does not tell."""
    query = (
        select(workers.c.name, workers.c.extractor)
        .where(
            workers.c.topic_prefix == topic_prefix,
            literal("extraction") == func.any(workers.c.roles),
            workers.c.expires_at > func.clock_timestamp(),
        )
        .order_by(workers.c.name)
    )
    rows = await connection.execute(query)
    return [(row.name, None if row.extractor is None else ExtractorIdentity(**row.extractor)) for row in rows]


async def embedding_workers(connection: AsyncConnection) -> list[tuple[str, EmbeddingModel]]:
    """Name and model of each living worker that makes embeddings, on whatever topics."""
    query = (
        select(workers.c.name, workers.c.embedding_model, workers.c.embedding_dimension)
        .where(workers.c.embedding_model.is_not(None), workers.c.expires_at > func.clock_timestamp())
        .order_by(workers.c.name)
    )
    rows = await connection.execute(query)
    return [(row.name, EmbeddingModel(row.embedding_model, row.embedding_dimension)) for row in rows]
