"""The newest changes, kept at hand for all readers together: each has a number, and a reader only remembers one."""

from collections.abc import Iterable, Mapping

from streams.change_cursor import Place, Positions, merge_into
from streams.change_records import ChangeRecord


class RecentChanges:
    """Changes by number, `first` up to and without `next`, of `max_bytes` or less in sum; a larger one stays alone.

    `floor` says from which offset on nothing of a partition is missing here, `positions` up to which.
    """

    def __init__(self, start: Mapping[Place, int], max_bytes: int) -> None:
        self.first = 0
        self.next = 0
        self.floor: Positions = dict(start)
        self.positions: Positions = dict(start)
        self._records: dict[int, ChangeRecord] = {}
        self._max_bytes = max_bytes
        self._bytes = 0

    def __getitem__(self, number: int) -> ChangeRecord:
        return self._records[number]

    def extend(self, records: Iterable[ChangeRecord], positions: Mapping[Place, int]) -> None:
        """Add what was read up to `positions`, each partition in its order, and drop the oldest beyond the limit."""
        for record in records:
            self._records[self.next] = record
            self._bytes += record.size_bytes
            self.next += 1
            while self._bytes > self._max_bytes and self.next - self.first > 1:
                self._drop_oldest()
        merge_into(self.positions, positions)

    def add_partitions(self, first: Mapping[Place, int]) -> None:
        """Begin partitions that are new at their first offset."""
        for place, offset in first.items():
            self.floor.setdefault(place, offset)
            self.positions.setdefault(place, offset)

    def _drop_oldest(self) -> None:
        record = self._records.pop(self.first)
        self._bytes -= record.size_bytes
        self.first += 1
        self.floor[record.place] = record.offset + 1
