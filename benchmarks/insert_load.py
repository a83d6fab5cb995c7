"""Inserts blobs through the gateway over many connections, and looks at what became of each."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

import aiohttp
import orjson

from benchmarks.conversations import conversations

# Above what the gateway itself allows itself for a call.
ANSWER_TIMEOUT_S: Final = 60.0
LOOKS_AT_A_TIME: Final = 16
FAULT_AFTER: Final = 0.2

# stored: an id. refused: errno 503, which asks to come again. failed: anything else.
Fate = Literal["stored", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Insert:
    """A body for POST /api/v1/blobs/insert/{user_id}."""

    user_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What a call was answered. `why` tells of a failure, without anything that was sent."""

    user_id: str
    fate: Fate
    seconds: float
    blob_id: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """All answers, and how long all calls took together."""

    answers: Sequence[Answered]
    seconds: float

    def of(self, fate: Fate) -> list[Answered]:
        return [answer for answer in self.answers if answer.fate == fate]

    @property
    def stored_per_s(self) -> float:
        return len(self.of("stored")) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """The time that this share of all answers took no longer than."""
        times = sorted(answer.seconds for answer in self.answers)
        return 1000 * times[min(len(times) - 1, int(share * len(times)))]


def inserts_of(count: int, users: int, seed: int) -> list[Insert]:
    """Bodies of the size that real records have; the gateway makes the ids."""
    made = ((key.decode(), orjson.loads(value)) for key, value in conversations(count, users, seed))
    return [
        Insert(user_id, orjson.dumps({name: document[name] for name in ("blob_type", "blob_data")}))
        for user_id, document in made
    ]


class Inserter:
    """A client of one gateway."""

    def __init__(self, session: aiohttp.ClientSession, connections: int) -> None:
        self._session = session
        self._connections = connections

    async def insert(self, inserts: Sequence[Insert], on_answer: Callable[[int], None] = lambda _: None) -> Run:
        """Each once, over all connections at a time; `on_answer` is told how many answers there are."""
        waiting = iter(inserts)
        answers: list[Answered] = []

        async def call_on(waiting: Iterator[Insert]) -> None:
            for insert in waiting:
                answers.append(await self._insert(insert))
                on_answer(len(answers))

        began_s = time.perf_counter()
        await asyncio.gather(*(call_on(waiting) for _ in range(self._connections)))
        return Run(answers, time.perf_counter() - began_s)

    async def insert_during(self, fault: Coroutine[None, None, None], inserts: Sequence[Insert]) -> Run:
        """The same, with a fault that begins when some answers have come and most are still waited for."""
        has_begun = asyncio.Event()

        async def befall() -> None:
            await has_begun.wait()
            await fault

        def on_answer(answers: int) -> None:
            if answers >= FAULT_AFTER * len(inserts):
                has_begun.set()

        befalling = asyncio.create_task(befall())
        run = await self.insert(inserts, on_answer)
        await befalling
        return run

    async def states(self, stored: Sequence[Answered]) -> list[str]:
        """Where each blob stands now, in the words of `memostream audit`."""
        turns = asyncio.Semaphore(LOOKS_AT_A_TIME)

        async def state(answer: Answered) -> str:
            async with turns, self._session.get(f"/api/v1/blobs/{answer.user_id}/{answer.blob_id}/state") as reply:
                document = await reply.json()
            return str(document["data"]["state"]) if document["errno"] == 0 else f"errno {document['errno']}"

        return list(await asyncio.gather(*(state(answer) for answer in stored)))

    async def _insert(self, insert: Insert) -> Answered:
        began_s = time.perf_counter()

        def answered(fate: Fate, blob_id: str | None = None, why: str | None = None) -> Answered:
            return Answered(insert.user_id, fate, time.perf_counter() - began_s, blob_id, why)

        try:
            async with self._session.post(f"/api/v1/blobs/insert/{insert.user_id}", data=insert.body) as reply:
                document = orjson.loads(await reply.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            return answered("failed", why=type(error).__name__)
        if (reply.status, document.get("errno")) == (200, 0):
            return answered("stored", document["data"]["id"])
        if document.get("errno") == 503 and "Retry-After" in reply.headers:
            return answered("refused")
        return answered("failed", why=f"status {reply.status}, errno {document.get('errno')}")


@asynccontextmanager
async def inserter(url: str, token: str, connections: int) -> AsyncIterator[Inserter]:
    """A client with so many connections, each opened by its first call."""
    async with aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=ANSWER_TIMEOUT_S),
        timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
    ) as session:
        yield Inserter(session, connections)
