"""`memostream import-memobase`: users of Memobase's database, each read as of one moment and imported whole."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.databases import open_database
from cli.imports import Imports
from cli.memobase_memory import memory_of
from cli.transfer_report import Refusal, TransferReport, counting_users
from schemas.errors import ConfigurationError
from schemas.export import InvalidExport
from schemas.settings import Settings
from storage.memobase_source import SourceKey, open_source, read_user, user_keys

# Memobase's one project, if nobody has made others by SQL.
ROOT_PROJECT: Final = "__root__"


async def import_memobase(
    settings: Settings,
    url: str,
    *,
    project_id: str | None,
    root_project: str,
    unprocessed: Path | None,
    executes: bool,
    revives_forgotten: bool,
    quiet: bool,
) -> TransferReport:
    """Import every user, or those of one of Memobase's projects; what it calls `__root__` becomes `root_project`.

    Blobs that Memobase has made no memory of are written to `unprocessed`, where it is given. Raises
    ConfigurationError for a database that cannot be read so, and RetryLater if one of the two is away: users before
    that are imported, and unchanged when it is run again.
    """
    report = TransferReport()
    async with open_database(settings.storage) as engine, open_source(url) as source:
        imports = Imports(engine, settings, "memobase", executes, revives_forgotten)
        with _opened(unprocessed) as file, counting_users("importing", quiet=quiet) as advance:
            async for key in user_keys(source, project_id):
                advance()
                await _import(source, key, root_project, imports, report, file)
    return report


def more_of(report: TransferReport, unprocessed: Path | None) -> dict[str, Any]:
    """What only this import has to tell a script."""
    return {
        "skipped": dict(report.skipped),
        "joined": report.joined,
        "unprocessed": report.unprocessed,
        "unprocessed_file": None if unprocessed is None else str(unprocessed),
    }


async def _import(
    source: AsyncEngine,
    key: SourceKey,
    root_project: str,
    imports: Imports,
    report: TransferReport,
    file: BinaryIO | None,
) -> None:
    found = await read_user(source, key)
    if found is None:
        return
    project_id = root_project if found.project_id == ROOT_PROJECT else found.project_id
    place = f"{found.project_id}/{found.user_id}"
    try:
        memory, notes = memory_of(found, project_id, datetime.now(UTC))
    except InvalidExport as error:
        report.refuse(Refusal(place, error.reason, error.detail))
        return
    if not await imports.take(memory, place, report):
        return
    report.skipped.update(notes.skipped)
    report.joined += notes.joined
    report.unprocessed += len(notes.unprocessed)
    if file is not None:
        lines = b"".join(orjson.dumps(record) + b"\n" for record in notes.unprocessed)
        await asyncio.to_thread(file.write, lines)


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
        return
    try:
        # For its owner alone, since it holds what people have said.
        path.touch(mode=0o600, exist_ok=True)
        file = path.open("wb")
    except OSError as error:
        raise ConfigurationError(f"--unprocessed: {path} cannot be written ({error.strerror})") from error
    with file:
        yield file
