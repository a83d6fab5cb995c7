"""`memostream import`: lines of an export, each a user and a transaction."""

import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.databases import open_database
from cli.snapshots import wait_for_room
from cli.transfer_report import Refusal, TransferReport, counting_users
from schemas.errors import ConfigurationError
from schemas.export import InvalidExport, UserExport, months_of, parse_export
from schemas.settings import Settings
from storage.errors import translated
from storage.importing import Importer, ImportRefused, ImportSource, import_user
from storage.partitions import ensure_unit_partitions

STDIN: Final = "-"
# After so many users it is looked how many rows wait in the outbox.
LOOK_AFTER_USERS: Final = 50
# Of older months the default partition keeps what there is.
PARTITIONED_YEARS: Final = 10


@dataclass(frozen=True, slots=True)
class Imports:
    """How users are imported; without `executes` each transaction is rolled back when it has come to its end."""

    engine: AsyncEngine
    settings: Settings
    source: ImportSource
    executes: bool
    revives_forgotten: bool

    async def take(self, memory: UserExport, place: str, report: TransferReport) -> bool:
        """Import a user, and count what became of it; False where it was refused. Raises RetryLater."""
        how = Importer(
            self.source,
            datetime.now(UTC),
            uuid.uuid4,
            # What the topics of changes take as one record, less the room for headers.
            2 * self.settings.buffer.max_blob_bytes,
            self.revives_forgotten,
        )
        with translated("importing a user"):
            if self.executes:
                if sum(report.users.values()) % LOOK_AFTER_USERS == 0:
                    await wait_for_room(self.engine)
                await self._make_partitions(memory, how.now)
            async with self.engine.connect() as connection:
                try:
                    result = await import_user(connection, memory, how)
                except ImportRefused as error:
                    report.refuse(Refusal(place, error.reason, str(error)))
                    return False
                if self.executes:
                    await connection.commit()
                else:
                    await connection.rollback()
        report.add(result, memory)
        return True

    async def _make_partitions(self, memory: UserExport, now: datetime) -> None:
        for month in months_of(memory):
            if now.year - PARTITIONED_YEARS <= month.year <= now.year:
                async with self.engine.begin() as connection:
                    await ensure_unit_partitions(connection, month)


async def import_file(
    settings: Settings, name: str, project_id: str | None, *, executes: bool, revives_forgotten: bool, quiet: bool
) -> TransferReport:
    """Import the users of a file, or of standard input; into this project instead of their own, where one is named.

    A line that is refused stops no other. Raises ConfigurationError for a file that cannot be read, and RetryLater if
    Postgres is away: users before that are imported, and unchanged when it is run again.
    """
    report = TransferReport()
    async with open_database(settings.storage) as engine:
        imports = Imports(engine, settings, "export", executes, revives_forgotten)
        with counting_users("importing", quiet=quiet) as advance:
            for number, line in _lines(name):
                advance()
                try:
                    memory = _parsed(line, project_id)
                except InvalidExport as error:
                    report.refuse(Refusal(f"line {number}", error.reason, error.detail))
                    continue
                await imports.take(memory, f"line {number}, {memory.project_id}/{memory.user_id}", report)
    if not report.users:
        raise ConfigurationError(f"{name} is empty: an export has one user a line")
    return report


def _parsed(line: bytes, project_id: str | None) -> UserExport:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise InvalidExport("foreign", "is no JSON: an export has one user a line, as `jq -c .` writes them") from None
    if project_id is not None and isinstance(document, dict):
        document["project_id"] = project_id
    return parse_export(document)


def _lines(name: str) -> Iterator[tuple[int, bytes]]:
    """Those that are not blank, with their numbers."""
    try:
        if name == STDIN:
            yield from _numbered(sys.stdin.buffer)
        else:
            with Path(name).open("rb") as file:
                yield from _numbered(file)
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}") from error


def _numbered(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
