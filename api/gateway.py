"""What every route may use: made once, in the composition root."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from api.access import Authenticator
from api.insert_counts import InsertCounter
from api.ports import BufferQueries, ChangeFeed, MessageLog, Policies, TextReader
from api.recent_writes import RecentWrites
from extraction.protocol import Embedder
from extraction.reading import ReadingModel
from schemas.metrics import NO_METRICS, Metrics
from schemas.settings import Settings
from schemas.tokens import TokenCounter
from storage.ledger_waiter import LedgerWaiter
from storage.probing import Reasons


async def no_page() -> bytes:
    """For a gateway that counts nothing."""
    return b""


async def always() -> bool:
    """For a gateway on a database of one model."""
    return True


@dataclass(frozen=True, slots=True)
class Gateway:
    """`embedder` is None where embeddings are off, `reader` where no chat model is configured.

    `holds_vectors` tells whether the database has vectors of the embedder's model; it raises RetryLater. `stopping` is
    set before requests are waited for.
    """

    settings: Settings
    engine: AsyncEngine
    gatekeeper: Authenticator
    message_log: MessageLog
    buffers: BufferQueries
    texts: TextReader
    changes: ChangeFeed
    policies: Policies
    embedder: Embedder | None
    reader: ReadingModel | None
    count_tokens: TokenCounter
    inserts: InsertCounter
    ledger: LedgerWaiter
    watch_database: Reasons
    end_offsets: Callable[[], Awaitable[Mapping[tuple[str, int], int]]]
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    holds_vectors: Callable[[], Awaitable[bool]] = always
    metrics: Metrics = NO_METRICS
    metrics_page: Callable[[], Awaitable[bytes]] = no_page
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    recent: RecentWrites = field(default_factory=RecentWrites)


async def gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(gateway_of)]
