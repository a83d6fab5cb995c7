"""Sends lines of JSON to `chat-messages`: idempotent, on the right partition, with a bounded number in flight."""

import asyncio
import os
import stat
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from cli.console import err, note, printable
from cli.preparing import PreparedRecord, Preparer
from schemas.errors import ConfigurationError, InvalidRecord
from schemas.settings import Settings
from streams.clients import producer, translated
from streams.topics import Topics, ensure_topics, partition_for

CHUNK_BYTES: Final = 1 << 18
MAX_IN_FLIGHT: Final = 5000
LINGER_MS: Final = 5
REFUSALS_SHOWN: Final = 20
STDIN: Final = "-"


@dataclass(slots=True)
class SendReport:
    """What became of the input."""

    sent: int = 0
    refused: int = 0
    seconds: float = 0.0

    @property
    def rate_per_s(self) -> float:
        return self.sent / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Lines:
    """Some whole lines of one source, the first of them numbered `first`; `bytes_read` includes line ends."""

    source: str
    first: int
    lines: Sequence[bytes]
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Input:
    """Where lines come from; `total_bytes` is None where nobody knows."""

    batches: AsyncIterator[Lines]
    total_bytes: int | None


async def send_lines(settings: Settings, given: Input, *, project_id: str | None, quiet: bool) -> SendReport:
    """Send the good lines, name the bad ones on stderr. All that was sent is acknowledged when this returns."""
    preparer = Preparer(project_id=project_id, max_blob_bytes=settings.buffer.max_blob_bytes)
    report = SendReport()
    started = time.monotonic()
    partitions = await ensure_topics(settings.kafka, settings.buffer)
    topic = Topics(settings.kafka.topic_prefix).chat_messages
    async with producer(settings.kafka, linger_ms=LINGER_MS) as client:
        in_flight: deque[asyncio.Future[object]] = deque()
        with _progress(given.total_bytes, quiet=quiet) as (bar, task):
            async for batch in given.batches:
                for record in _prepared(preparer, batch, report):
                    with translated("sending"):
                        future = await client.send(
                            topic,
                            key=record.key,
                            value=record.value,
                            partition=partition_for(record.key, partitions),
                        )
                        in_flight.append(future)
                        if len(in_flight) >= MAX_IN_FLIGHT:
                            await in_flight.popleft()
                    report.sent += 1
                bar.update(task, advance=batch.bytes_read, sent=report.sent)
            with translated("sending"):
                for future in in_flight:
                    await future
    report.seconds = time.monotonic() - started
    if report.refused > REFUSALS_SHOWN:
        note(f"and {report.refused - REFUSALS_SHOWN} more", style="red")
    return report


def one_line(line: bytes) -> Input:
    """An input of one line."""

    async def batches() -> AsyncIterator[Lines]:
        yield Lines("message", 1, [line], len(line))

    return Input(batches(), len(line))


def open_sources(names: Sequence[str]) -> Input:
    """Files and `-` for standard input, one after the other; raises ConfigurationError for what cannot be read."""
    total: int | None = 0
    for name in names:
        if name == STDIN:
            total = None
            continue
        path = Path(name)
        if path.is_dir():
            raise ConfigurationError(f"{name} is a folder; name the files in it")
        if not path.exists():
            raise ConfigurationError(f"there is no file {name}; to send it as a message, say whose it is: --user ID")
        # A pipe, as of `<(...)` in a shell, has no size.
        total = total + path.stat().st_size if total is not None and path.is_file() else None

    async def batches() -> AsyncIterator[Lines]:
        for name in names:
            if name == STDIN:
                async for batch in _numbered("stdin", _chunks("stdin", sys.stdin.buffer)):
                    yield batch
                continue
            with _opened(name) as file:
                async for batch in _numbered(name, _chunks(name, file)):
                    yield batch

    return Input(batches(), total)


def _opened(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {type(error).__name__}") from error


async def _numbered(source: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[Lines]:
    rest = b""
    number = 1
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield Lines(source, number, lines, len(chunk))
        number += len(lines)
    if rest:
        yield Lines(source, number, [rest], 0)


async def _chunks(name: str, file: BinaryIO) -> AsyncIterator[bytes]:
    """As it comes: what has been read is sent while a pipe is quiet."""
    # A loop can wait for a pipe or a terminal, but not for a file.
    waits = not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    try:
        async for chunk in _pipe_chunks(file) if waits else _file_chunks(file):
            yield chunk
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read to its end: {type(error).__name__}") from error


async def _file_chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


async def _pipe_chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            yield chunk
    finally:
        transport.close()


def _prepared(preparer: Preparer, batch: Lines, report: SendReport) -> Iterator[PreparedRecord]:
    for number, line in enumerate(batch.lines, start=batch.first):
        if not line.strip():
            continue
        try:
            yield preparer.prepare(line)
        except InvalidRecord as error:
            report.refused += 1
            if report.refused <= REFUSALS_SHOWN:
                note(printable(f"{batch.source}:{number}: {error.reason}: {error.detail}"), style="red")


@contextmanager
def _progress(total_bytes: int | None, *, quiet: bool) -> Iterator[tuple[Progress, TaskID]]:
    columns = (SpinnerColumn(), TextColumn("sending"), BarColumn(), TextColumn("{task.fields[sent]} records"))
    with Progress(*columns, console=err(), transient=True, disable=quiet or not err().is_terminal) as bar:
        yield bar, bar.add_task("sending", total=total_bytes, sent=0)
