"""What this worker's own partitions hold of a user, told only while the broker confirms that they are its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from aiokafka import TopicPartition

from schemas.buffer_views import BufferView
from schemas.errors import RetryLater
from streams.buffer_memory import User
from streams.buffer_owner import BufferOwner
from streams.buffer_service import NotTheOwner
from streams.ownership import PartitionOwners
from streams.topics import partition_for
from streams.windowing import Head

# A broker that is away must not hold up those who could be told so; one may wait for two of these.
CONFIRM_TIMEOUT_S: Final = 1.0


class OwnedBuffers:
    """Views of the partitions of one topic.

    `confirm` asks the broker whether this worker is still a member of its group. `url_of` tells which worker has a
    partition, and None where nobody knows; `own_url` is this worker's.
    """

    def __init__(
        self,
        owners: PartitionOwners,
        topic: str,
        partitions: int,
        confirm: Callable[[], Awaitable[bool]],
        url_of: Callable[[int], str | None],
        own_url: str,
    ) -> None:
        self._owners = owners
        self._topic = topic
        self.partitions = partitions
        self._confirm = Coalesced(confirm)
        self._url_of = url_of
        self._own_url = own_url

    async def view(self, user: User, past: int | None, wait_s: float) -> BufferView:
        """What is committed of a user now, or once the record at `past` is decided, or after `wait_s`.

        Raises NotTheOwner, and RetryLater while the partition is changing hands or the broker does not confirm that
        this worker owns it: one that was frozen would tell what was true then.
        """
        place = TopicPartition(self._topic, partition_for(user.user_id.encode(), self.partitions))
        owner = self._owner_of(place)
        if past is not None:
            await owner.wait_for(past, wait_s)
        view = owner.view(user)
        if not await self._confirm():
            raise RetryLater(f"the broker does not confirm that partition {place.partition} is still this worker's")
        if self._owners.owner_of(place) is not owner:
            raise _changing_hands(place)
        return view

    def heads(self) -> Iterator[Head]:
        """Of all partitions whose state is loaded."""
        for place in self._owners.owned:
            owner = self._owners.owner_of(place)
            if isinstance(owner, BufferOwner):
                yield from owner.heads()

    def _owner_of(self, place: TopicPartition) -> BufferOwner:
        owner = self._owners.owner_of(place)
        if isinstance(owner, BufferOwner):
            return owner
        url = self._url_of(place.partition)
        if url == self._own_url:
            raise _changing_hands(place)
        raise NotTheOwner(url)


class Coalesced:
    """One call of `ask` at a time: whoever comes while one runs shares the next, which begins after they came.

    No answer in time counts as no.
    """

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask
        self._running: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None

    async def __call__(self) -> bool:
        if self._next is None:
            self._next = asyncio.create_task(self._ask_after(self._running))
        # Who gives up must not take it from the others.
        return await asyncio.shield(self._next)

    async def _ask_after(self, running: asyncio.Task[bool] | None) -> bool:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                return await self._ask()
        except (RetryLater, TimeoutError):
            return False


def _changing_hands(place: TopicPartition) -> RetryLater:
    return RetryLater(f"partition {place.partition} is changing hands")
