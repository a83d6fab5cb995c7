"""`memostream export`: users as lines of JSON, each as of one moment."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from sqlalchemy.ext.asyncio import AsyncEngine

from cli.databases import open_database
from cli.snapshots import users_of
from cli.transfer_report import TransferReport, counting_users
from schemas.errors import ConfigurationError, NotFound
from schemas.export import UserExport
from schemas.settings import Settings
from storage.errors import translated
from storage.exporting import read_export
from storage.user_listing import UserKey

PART_SUFFIX = ".part"


async def export_users(
    settings: Settings, project_id: str, user_id: str | None, out_file: Path | None, *, quiet: bool
) -> TransferReport:
    """Write one user, or all of a project, to the file, which is there when all of it is; else to stdout.

    Raises NotFound where there is nobody, and RetryLater if Postgres is away.
    """
    report = TransferReport()
    async with open_database(settings.storage) as engine:
        with _opened(out_file) as file:
            with counting_users("exporting", quiet=quiet) as advance:
                async for user in users_of(engine, project_id, user_id):
                    advance()
                    await _write(engine, file, report, user)
            if not report.users:
                of_whom = f"nothing is remembered of {user_id}" if user_id is not None else "there are no users"
                raise NotFound(f"{of_whom} in project {project_id}")
    return report


async def _write(engine: AsyncEngine, file: TextIO, report: TransferReport, user: UserKey) -> None:
    with translated("exporting a user"):
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            found = await read_export(connection, *user, datetime.now(UTC))
    # One who is gone since the list was read has no memory any more.
    if found is not None:
        await asyncio.to_thread(_write_line, file, found)
        report.add("exported", found)


def _write_line(file: TextIO, found: UserExport) -> None:
    file.write(found.line() + "\n")
    file.flush()


@contextmanager
def _opened(out_file: Path | None) -> Iterator[TextIO]:
    """A file for its owner alone, since it holds what people have said; what is left half-way takes no file's place."""
    if out_file is None:
        yield sys.stdout
        return
    try:
        number, name = tempfile.mkstemp(prefix=f"{out_file.name}.", suffix=PART_SUFFIX, dir=out_file.parent)
    except OSError as error:
        raise ConfigurationError(f"--out: {out_file} cannot be written ({error.strerror})") from error
    part = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out_file)
    except OSError as error:
        raise ConfigurationError(f"--out: {out_file} cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
