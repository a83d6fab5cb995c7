"""Runs a backfill: reads files, and sends their records or only says what would be sent."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final

from cli.console import note
from cli.ingest.files import InputFile
from cli.ingest.records import Reading, Tally
from cli.ingest.scratch import KeptRecord, Scratch
from cli.ingest.state import SentState, fingerprint, read_state, write_state
from cli.record_sender import RecordSender, progress_bar, record_sender
from schemas.errors import MemostreamError, NotFound
from schemas.settings import KafkaSettings, Settings
from streams.clients import admin, translated
from streams.rate import Rate
from streams.topics import Topics

CHUNK_RECORDS: Final = 200
STATE_EVERY_S: Final = 1.0
# How long Ctrl-C waits for what is under way.
STOP_S: Final = 10.0


@dataclass(slots=True)
class IngestReport:
    """What became of an input; `skipped` records an earlier run had sent, by its state."""

    tally: Tally = field(default_factory=Tally)
    users: int = 0
    sent: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def rate_per_s(self) -> float:
        return self.sent / self.seconds if self.seconds else 0.0


def look_through(reading: Reading) -> IngestReport:
    """Read everything and send nothing; needs no broker. Raises NotFound if there is nothing in it."""
    report = IngestReport()
    with Scratch() as scratch:
        for _ in replace(reading, in_order=False).records(scratch, report.tally):
            pass
        report.users = scratch.users
    _finish(report)
    return report


async def send_files(
    settings: Settings,
    reading: Reading,
    *,
    rate_per_s: float | None,
    state_file: Path | None,
    quiet: bool,
) -> IngestReport:
    """Send the good records; all that was sent is acknowledged when this returns.

    Raises RetryLater if the broker is away,
    ConfigurationError where a file cannot be read on, NotFound if there is nothing in it.
    """
    report = IngestReport()
    started_s = time.monotonic()
    state = None if state_file is None else await _state_of(settings, reading, state_file)
    with Scratch() as scratch, closing(reading.records(scratch, report.tally)) as records:
        async with record_sender(settings) as sender:
            run = _Run(report, sender, Rate(rate_per_s), state)
            try:
                with progress_bar(total_bytes(reading.files), quiet=quiet) as (bar, task):
                    while chunk := list(islice(records, CHUNK_RECORDS)):
                        await run.send(chunk)
                        bar.update(task, completed=report.tally.read_bytes, sent=report.sent)
                        if total_bytes(reading.files) is None:
                            # A pipe may stand still, and what is under way would time out meanwhile.
                            await sender.settle()
                await sender.settle()
            except BaseException:
                await run.give_up()
                raise
            finally:
                run.keep_state()
        report.users = scratch.users
    report.seconds = time.monotonic() - started_s
    _finish(report)
    return report


def total_bytes(files: Sequence[InputFile]) -> int | None:
    """None where a pipe is among them."""
    sizes = [file.size_bytes for file in files if file.size_bytes is not None]
    return sum(sizes) if len(sizes) == len(files) else None


@dataclass(slots=True)
class _State:
    """`found` is what an earlier run has left in the file."""

    file: Path
    found: SentState


@dataclass(slots=True)
class _Run:
    report: IngestReport
    sender: RecordSender
    rate: Rate
    state: _State | None
    keeps_at_s: float = 0.0

    async def send(self, records: Sequence[KeptRecord]) -> None:
        already = 0 if self.state is None else self.state.found.acknowledged
        for record in records:
            if self.report.skipped < already:
                self.report.skipped += 1
                continue
            await self.rate.keep(1)
            await self.sender.send(record.key, record.value)
            self.report.sent += 1
            if time.monotonic() >= self.keeps_at_s:
                self.keep_state()

    def keep_state(self) -> None:
        self.keeps_at_s = time.monotonic() + STATE_EVERY_S
        if self.state is not None:
            reached = self.state.found.acknowledged + self.sender.acknowledged
            write_state(self.state.file, self.state.found.model_copy(update={"acknowledged": reached}))

    async def give_up(self) -> None:
        """Wait for what is under way, so that what is said of it is true."""
        with suppress(MemostreamError, TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self.sender.settle()
        self.report.tally.refusals.note_rest()
        goes_on = "sends the rest" if self.state is not None else "may send them twice, which counts once"
        note(f"stopped: {self.sender.acknowledged:,} records are sent and acknowledged; the same command {goes_on}")


async def _state_of(settings: Settings, reading: Reading, file: Path) -> _State:
    mapping = reading.shapes.mapping
    following = {
        "given": asdict(reading.given),
        "mapping": None if mapping is None else mapping.source.model_dump(mode="json"),
        "in_order": reading.in_order,
        "formats": [[file.format, file.delimiter] for file in reading.files],
        "max_blob_bytes": settings.buffer.max_blob_bytes,
        "version": version("memostream"),
    }
    expected = SentState(input=fingerprint(reading.files, following), destination=await _destination(settings.kafka))
    found = read_state(file, expected)
    # At once, for nobody wants to hear at the end that it cannot be kept.
    write_state(file, found)
    return _State(file, found)


async def _destination(kafka: KafkaSettings) -> str:
    async with admin(kafka) as client:
        with translated("asking for the cluster's id"):
            cluster = await client.describe_cluster()
    return f"{cluster['cluster_id']}/{Topics(kafka.topic_prefix).chat_messages}"


def _finish(report: IngestReport) -> None:
    tally = report.tally
    tally.refusals.note_rest()
    if not tally.records and not tally.refusals.count:
        raise NotFound("there is nothing to send: the files hold no record, or the mapping leaves all of them out")
