"""Which offset may be committed while records finish in any order: that behind the contiguous prefix."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Ticket:
    """An opened record. The generation grows with every `drop`, so that a stale ticket moves nothing."""

    partition: Partition
    offset: int
    generation: int


@dataclass(slots=True)
class _Prefix:
    last_opened: int = -1
    open_offsets: deque[int] = field(default_factory=deque)
    finished: set[int] = field(default_factory=set)
    next_offset: int | None = None
    committed: int | None = None


class PrefixTracker:
    """Records are opened in their partition's order; offsets may have gaps, as transactions leave them."""

    def __init__(self) -> None:
        self._prefixes: dict[Partition, _Prefix] = {}
        self._generations: dict[Partition, int] = {}

    def generation(self, partition: Partition) -> int:
        """Changes when the partition is dropped."""
        return self._generations.get(partition, 0)

    def is_current(self, ticket: Ticket) -> bool:
        return ticket.generation == self.generation(ticket.partition)

    def opened(self, partition: Partition, offset: int) -> Ticket | None:
        """Begin a record; None if this generation has had it: read twice, it is worked on once."""
        prefix = self._prefixes.setdefault(partition, _Prefix())
        if offset <= prefix.last_opened:
            return None
        prefix.last_opened = offset
        prefix.open_offsets.append(offset)
        return Ticket(partition, offset, self.generation(partition))

    def finished(self, ticket: Ticket) -> None:
        """End a record; does nothing for a partition that was dropped since."""
        prefix = self._prefixes.get(ticket.partition)
        if prefix is None or not self.is_current(ticket):
            return
        prefix.finished.add(ticket.offset)
        while prefix.open_offsets and prefix.open_offsets[0] in prefix.finished:
            offset = prefix.open_offsets.popleft()
            prefix.finished.remove(offset)
            prefix.next_offset = offset + 1

    def next_offset(self, partition: Partition) -> int | None:
        """That behind the contiguous prefix of what is finished; None where nothing is since the partition came."""
        prefix = self._prefixes.get(partition)
        return None if prefix is None else prefix.next_offset

    def open_records(self, partition: Partition) -> int:
        """Records that are read and not part of that prefix."""
        prefix = self._prefixes.get(partition)
        return 0 if prefix is None else len(prefix.open_offsets)

    def committable(self) -> dict[Partition, int]:
        """Next offsets (last finished plus one) of partitions that moved on since `committed`."""
        return {
            partition: prefix.next_offset
            for partition, prefix in self._prefixes.items()
            if prefix.next_offset is not None and prefix.next_offset != prefix.committed
        }

    def committed(self, next_offsets: dict[Partition, int]) -> None:
        """Take note of what the broker has accepted."""
        for partition, next_offset in next_offsets.items():
            if partition in self._prefixes:
                self._prefixes[partition].committed = next_offset

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that were taken away; their open records are somebody else's now."""
        for partition in partitions:
            self._prefixes.pop(partition, None)
            self._generations[partition] = self.generation(partition) + 1
