"""Sends lines of JSON, each a record of `chat-messages`, from files, pipes and standard input."""

import asyncio
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cli.preparing import PreparedRecord, Preparer
from cli.record_sender import progress_bar, record_sender
from cli.refusals import Refusals
from schemas.errors import ConfigurationError, InvalidRecord
from schemas.settings import Settings

CHUNK_BYTES: Final = 1 << 18
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
    report, refusals = SendReport(), Refusals()
    started = time.monotonic()
    async with record_sender(settings) as sender:
        with progress_bar(given.total_bytes, quiet=quiet) as (bar, task):
            async for batch in given.batches:
                for record in _prepared(preparer, batch, refusals):
                    await sender.send(record.key, record.value)
                    report.sent += 1
                bar.update(task, advance=batch.bytes_read, sent=report.sent)
            await sender.settle()
    report.seconds = time.monotonic() - started
    report.refused = refusals.count
    refusals.note_rest()
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


def _prepared(preparer: Preparer, batch: Lines, refusals: Refusals) -> Iterator[PreparedRecord]:
    for number, line in enumerate(batch.lines, start=batch.first):
        if not line.strip():
            continue
        try:
            yield preparer.prepare(line)
        except InvalidRecord as error:
            refusals.add(f"{batch.source}:{number}", error)
