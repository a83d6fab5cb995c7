"""From files to the records that are sent, in their order, with what is to be said of them."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cli.ingest.files import Document, InputFile, OpenFile, Unreadable, open_file
from cli.ingest.scratch import KeptRecord, Scratch
from cli.ingest.shapes import Shapes
from cli.ingest.sources import Given
from cli.preparing import PreparedRecord, Preparer
from cli.refusals import Refusals
from schemas.errors import InvalidRecord

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class Tally:
    """What an input holds, as far as it was read; `records` counts those that came out in their order.

    `untimed` records will be dated when they are sent; `late` ones are older than one before them of the same user.
    """

    records: int = 0
    untimed: int = 0
    late: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    read_bytes: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    refusals: Refusals = field(default_factory=Refusals)


@dataclass(frozen=True, slots=True)
class Reading:
    """How an input is read. With `in_order` all of it is read before the first record comes."""

    files: Sequence[InputFile]
    shapes: Shapes
    given: Given
    in_order: bool

    def records(self, scratch: Scratch, tally: Tally) -> Generator[KeptRecord, None, None]:
        """The good records; all else is in the tally.

        Raises ConfigurationError where a file cannot be read on.
        """
        found = self._found(scratch, tally)
        if self.in_order:
            for record in found:
                scratch.keep(record)
            found = scratch.in_order()
        for record in found:
            _count(record, scratch, tally)
            yield record

    def _found(self, scratch: Scratch, tally: Tally) -> Iterator[KeptRecord]:
        preparer = Preparer(
            project_id=self.given.project_id,
            user_id=self.given.user_id,
            max_blob_bytes=self.shapes.max_blob_bytes,
            ordinal=scratch.ordinal,
        )
        before_bytes = 0
        for file in self.files:
            scratch.begin_file()
            with open_file(file) as raw:
                opened = OpenFile(file, raw, self._check_columns)
                for document in opened.documents():
                    tally.read_bytes = before_bytes + opened.read_bytes()
                    yield from self._of_document(document, preparer, tally)
            before_bytes += file.size_bytes or 0

    def _of_document(self, document: Document | Unreadable, preparer: Preparer, tally: Tally) -> Iterator[KeptRecord]:
        if isinstance(document, Unreadable):
            tally.refusals.add(document.place, document.error)
            return
        shaped = self.shapes.read(document)
        tally.ignored.update(shaped.ignored)
        for error in shaped.refusals:
            tally.refusals.add(document.place, error)
        for record in shaped.records:
            try:
                yield _kept(preparer.prepare_document(record))
            except InvalidRecord as error:
                tally.refusals.add(document.place, error)

    def _check_columns(self, name: str, columns: Sequence[str]) -> None:
        if self.shapes.mapping is None:
            self.shapes.recognised.check_columns(name, columns)


def moment_of(at_ms: int) -> datetime:
    return EPOCH + at_ms * MILLISECOND


def _kept(prepared: PreparedRecord) -> KeptRecord:
    record = prepared.record
    at = getattr(record, "created_at", None)
    at_ms = None if at is None else (at - EPOCH) // MILLISECOND
    return KeptRecord(prepared.key, prepared.value, f"{record.project_id}/{record.user_id}", at_ms)


def _count(record: KeptRecord, scratch: Scratch, tally: Tally) -> None:
    tally.records += 1
    tally.late += scratch.meet(record.user, record.at_ms)
    if record.at_ms is None:
        tally.untimed += 1
        return
    tally.first_ms = record.at_ms if tally.first_ms is None else min(tally.first_ms, record.at_ms)
    tally.last_ms = record.at_ms if tally.last_ms is None else max(tally.last_ms, record.at_ms)
