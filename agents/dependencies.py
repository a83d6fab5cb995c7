"""What the extraction agent is given by the composition root."""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from extraction.protocol import Extractor
from schemas.budgets import BudgetSettings
from schemas.health import Health
from schemas.memory import EmbeddingModel
from schemas.metrics import NO_METRICS, Metrics
from schemas.prices import PriceSettings
from schemas.profile_schema import ProfilePolicy
from schemas.settings import BufferSettings, ExtractionSettings, WorkerSettings
from schemas.tracing import NO_TRACER, Tracer
from schemas.windows import Position, Window, WindowCommand
from streams.tracker import Partition


def utc_now() -> datetime:
    return datetime.now(UTC)


async def no_offsets() -> Mapping[Partition, int]:
    """For a worker that was given no way to ask: what lies before a forget on its own partition counts still."""
    return {}


async def default_policy(project_id: str) -> ProfilePolicy:  # noqa: ARG001
    """For a worker that was given no policy."""
    return ProfilePolicy()


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, randomness and ids, so that a test can give its own. `jitter` is in [0, 1)."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    new_id: Callable[[], UUID] = uuid.uuid4


@dataclass(frozen=True, slots=True)
class ShadowWork:
    """The shadow that is extracted for. `takes` says which records belong to it; `max_cost` is what it may cost in all,
    and is looked at before each extraction, so that those under way come on top. `pace` is awaited before a record.
    """

    generation: int
    takes: Callable[[Window | WindowCommand, Position], bool]
    max_cost: Callable[[], Decimal | None]
    pace: Callable[[], Awaitable[None]]


class SpendingDeps(Protocol):
    """What is needed to ask a model and to keep account of it."""

    @property
    def engine(self) -> AsyncEngine: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def prices(self) -> PriceSettings: ...
    @property
    def budget(self) -> BudgetSettings: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def shadow(self) -> ShadowWork | None: ...


class EmbeddingDeps(SpendingDeps, Protocol):
    """`embeds_by` says whose vectors are made; without, they go to the column in use."""

    @property
    def embeds_by(self) -> EmbeddingModel | None: ...


@dataclass(frozen=True, slots=True)
class ReembeddingDeps:
    """For who embeds without extracting: no budget holds it."""

    engine: AsyncEngine
    embeds_by: EmbeddingModel | None
    prices: PriceSettings = field(default_factory=PriceSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = NO_METRICS
    shadow: ShadowWork | None = None


@dataclass(frozen=True, slots=True)
class ExtractionDeps:
    """`fatal` is called with an error nobody expected; it makes the process end with a non-zero code.

    `worker_name` is this worker's own among all of the group, for claims on held users. `keep_blobs` keeps message
    text in Postgres, too; without `reads_images` images are parked. `end_offsets` asks the broker for those of
    `chat-messages` and all ingest sources, which a forget stores; it raises RetryLater when the broker is away.
    `policy_of_project` tells what a project's extraction asks for and keeps; it raises RetryLater when Postgres is
    away. `embeds_by` is the model of the extractor's embeddings; without, they go to the column in use. With `shadow`
    all comes to that generation, and live memory is neither read nor written.
    """

    engine: AsyncEngine
    extractor: Extractor
    extraction: ExtractionSettings
    buffer: BufferSettings
    worker: WorkerSettings
    fatal: Callable[[BaseException], None]
    worker_name: str = field(default_factory=lambda: str(uuid.uuid4()))
    health: Health = field(default_factory=Health)
    clock: Clock = field(default_factory=Clock)
    keep_blobs: bool = False
    reads_images: bool = False
    end_offsets: Callable[[], Awaitable[Mapping[Partition, int]]] = no_offsets
    policy_of_project: Callable[[str], Awaitable[ProfilePolicy]] = default_policy
    embeds_by: EmbeddingModel | None = None
    prices: PriceSettings = field(default_factory=PriceSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    metrics: Metrics = NO_METRICS
    tracer: Tracer = NO_TRACER
    shadow: ShadowWork | None = None
    commit_interval_s: float = 1.0
    hold_poll_s: float = 1.0
    # Renewed while its extraction runs; a dead worker's held users wait for so long.
    hold_claim_s: float = 15.0
