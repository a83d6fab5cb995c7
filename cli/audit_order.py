"""Whether units were applied once, and in the order of their records. Pure."""

from collections.abc import Iterator, Sequence

from cli.audit_findings import Sample
from storage.audit_applied import AppliedWindow
from storage.units import RecordedUnit, overlap


def applied_twice(blob: Sequence[RecordedUnit]) -> Iterator[Sample]:
    """The applied units of one blob that share a piece with one before them."""
    for number, unit in enumerate(blob):
        if any(other.content_hash == unit.content_hash and overlap(other.key, unit.key) for other in blob[:number]):
            piece = "" if unit.message_index < 0 else f", message {unit.message_index}, part {max(unit.part, 0)}"
            yield Sample(f"applied twice{piece}", unit.project_id, unit.user_id, unit.blob_id)


class OrderWatch:
    """Is told every window that changed memory, user by user in the order of their revisions."""

    def __init__(self) -> None:
        self._user: tuple[str, str] | None = None
        self._windows: dict[tuple[str, int], int] = {}
        self._records: dict[tuple[str, tuple[str, int]], int] = {}

    def look(self, window: AppliedWindow) -> Iterator[Sample]:
        """What is wrong with it: a window, or a record of its type of blob, that lies later was applied before it."""
        user = (window.project_id, window.user_id)
        if user != self._user:
            self._user = user
            self._windows.clear()
            self._records.clear()
        offset = self._windows.get(window.window_partition, -1)
        if window.window_offset < offset:
            place = f"{window.window_partition[1]}/{window.window_offset}"
            yield Sample(f"the window was applied after that of offset {offset}", *user, place)
        self._windows[window.window_partition] = max(offset, window.window_offset)
        if window.first is None or window.last is None:
            return
        # Types of blobs are buffered apart, and a blob that was cut may lie in several windows.
        key = (window.blob_type, window.partition)
        last = self._records.get(key, -1)
        if window.first < last:
            place = f"{window.partition[1]}/{window.first}"
            yield Sample(f"the record was applied after that of offset {last}", *user, place)
        self._records[key] = max(last, window.last)
