"""How a process is taken apart: parts side by side, each with its time, and what is left is known by name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

from schemas.settings import ApiSettings, WorkerSettings

# Of one farewell: a commit, leaving a group, closing producers, giving leases back.
FAREWELL_S: Final = 3.0
# Behind the windows that are under way: a commit, the group, the relay's batch, its producers and leases.
STOP_MARGIN_S: Final = 25.0
# Behind the requests that are under way: counts that are not written yet, Kafka's producer and consumer, Postgres.
GATEWAY_STOP_MARGIN_S: Final = 15.0


def stop_limit_s(settings: WorkerSettings) -> float:
    """How long a worker may take from being told to stop until its process has ended, whatever is away."""
    return settings.shutdown_timeout_s + STOP_MARGIN_S


def gateway_stop_limit_s(settings: ApiSettings) -> float:
    """The same of a gateway."""
    return settings.shutdown_timeout_s + GATEWAY_STOP_MARGIN_S


class Parts:
    """The parts of a process that run, or are being stopped."""

    def __init__(self) -> None:
        self._running: list[str] = []

    @property
    def running(self) -> list[str]:
        return list(self._running)

    @contextmanager
    def running_as(self, name: str) -> Iterator[None]:
        self._running.append(name)
        try:
            yield
        finally:
            self._running.remove(name)


class SideBySide:
    """Stacks of contexts that are left at the same time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stacks: list[AsyncExitStack] = []

    def stack(self, name: str) -> AsyncExitStack:
        """For the contexts of one part, left in the opposite order among themselves."""
        stack = AsyncExitStack()
        stack.enter_context(self._parts.running_as(name))
        self._stacks.append(stack)
        return stack

    async def leave(self) -> None:
        """Leave all; raises what one of them raised once all are left."""
        left = await asyncio.gather(*(stack.aclose() for stack in self._stacks), return_exceptions=True)
        for error in left:
            if error is not None:
                raise error


@asynccontextmanager
async def side_by_side(parts: Parts) -> AsyncIterator[SideBySide]:
    """Stacks that are left at the same time when the block ends."""
    stacks = SideBySide(parts)
    try:
        yield stacks
    finally:
        await stacks.leave()


async def done_before(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do the work; False if `stop` came first, for then it is given up. Raises what the work raises."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if is_given_up := not task.done():
            task.cancel()
            await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return not is_given_up


@asynccontextmanager
async def running(
    work: Coroutine[None, None, None],
    on_fatal: Callable[[BaseException], None],
    stop: Callable[[], None] | None = None,
    timeout_s: float = 0.0,
) -> AsyncIterator[None]:
    """Work beside the block; at its end `stop` is called and waited for, then the work is cancelled."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            on_fatal(error)

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        if stop is not None:
            stop()
            await asyncio.wait([task], timeout=timeout_s)
        task.cancel()
        await asyncio.wait([task])
