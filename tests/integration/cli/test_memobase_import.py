"""`import-memobase`: everything that Memobase has of its users, once, with its ids and times."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.browsing import read_events, read_history
from storage.tables import OF_A_USER, blobs, profiles, units, users
from tests.conftest import execute, plain_dsn, with_database
from tests.integration.storage.builders import rows_of
from tests.integration.storage.conftest import engine  # noqa: F401
from tests.support.command_line import CommandLine
from tests.support.memobase_database import MADE, MemobaseDatabase


@dataclass(frozen=True)
class Source:
    """A database of Memobase's, and its connection string."""

    rows: MemobaseDatabase
    connection: asyncpg.Connection
    url: str


@pytest.fixture
async def source(postgres_admin_url: str) -> AsyncIterator[Source]:
    name = f"memobase_{uuid.uuid4().hex[:12]}"
    await execute(postgres_admin_url, f'CREATE DATABASE "{name}"')
    url = plain_dsn(with_database(postgres_admin_url, name))
    connection = await asyncpg.connect(dsn=url)
    yield Source(MemobaseDatabase(connection), connection, url)
    await connection.close()
    await execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def shell(tmp_path: Path, database_url: str, source: Source) -> CommandLine:
    """An installation whose broker nobody needs."""
    shell = CommandLine.of(tmp_path, kafka="127.0.0.1:9", database_url=database_url, prefix="unused-")
    return shell.with_variables(MEMOSTREAM_MEMOBASE_URL=source.url)


async def test_users_come_with_their_ids_and_times_and_twice_changes_nothing(
    shell: CommandLine,
    source: Source,
    engine: AsyncEngine,  # noqa: F811
) -> None:
    await source.rows.make()
    ann = await source.rows.user()
    profile_id = await ann.profile("work", "company", "Acme")
    await ann.profile("Work", "Company", "Bolt")
    event_id = await ann.event("- joined Acme. [mention 2025/03/01] // event", "- has a dog // info")
    done = await ann.blob("I joined Acme", "done")
    waiting = await ann.blob("I have a dog", "idle")
    await source.rows.project("shop")
    await (await source.rows.user("shop")).profile("work", "company", "Cargo")

    planned = shell.document("import-memobase")
    assert (planned["executed"], planned["users"]) == (False, {"imported": 2, "unchanged": 0, "refused": 0})
    assert await rows_of(engine, users) == []
    report = shell.document("import-memobase", "--unprocessed", "rest.jsonl", "--execute")
    assert report == {
        **planned,
        "executed": True,
        "unprocessed_file": "rest.jsonl",
    }
    assert (report["joined"], report["unprocessed"], report["rows"]["gists"]) == (1, 1, 2)

    owner = ("default", str(ann.id))
    assert (*owner, {"plan": "pro"}) in await rows_of(engine, users, "project_id", "user_id", "additional_fields")
    columns = ("profile_id", "project_id", "topic", "sub_topic", "content", "created_at")
    kept = await rows_of(engine, profiles, *columns)
    assert [row[2:5] for row in kept if row.project_id == "shop"] == [("work", "company", "Cargo")]
    (joined,) = [row for row in kept if row.profile_id == profile_id]
    assert (joined.content, joined.created_at.date().isoformat()) == ("Acme; Bolt", "2025-03-03")
    async with engine.connect() as connection:
        (event,) = await read_events(connection, *owner, None)
        history = await read_history(connection, *owner)
    assert (event.event_id, event.summary, event.extractor) == (event_id, None, None)
    assert [gist.text for gist in event.gists] == ["joined Acme. [mention 2025/03/01] // event", "has a dog // info"]
    assert event.recorded_at > MADE
    assert [(row.op, row.after, row.why) for row in history] == [
        ("u", "Acme; Bolt", "imported"),
        ("c", "Acme", "imported"),
    ]
    assert await rows_of(engine, units, "blob_id", "state") == [(str(done), "applied")]
    assert await rows_of(engine, blobs, "blob_id") == [(str(done),)]
    (rest,) = [orjson.loads(line) for line in (shell.folder / "rest.jsonl").read_bytes().splitlines()]
    assert (rest["id"], rest["user_id"]) == (str(waiting), str(ann.id))
    assert (shell.folder / "rest.jsonl").stat().st_mode & 0o077 == 0

    shown = shell.call("why", str(ann.id), "work", "company")
    assert "imported" in shown.stdout
    assert "by hand" not in shown.stdout
    before = [await rows_of(engine, table) for table in (users, *OF_A_USER)]
    again = shell.document("import-memobase", "--execute")
    assert again["users"] == {"imported": 0, "unchanged": 2, "refused": 0}
    assert [await rows_of(engine, table) for table in (users, *OF_A_USER)] == before


async def test_it_goes_on_where_it_was_stopped_and_leaves_who_has_moved_on(
    shell: CommandLine,
    source: Source,
    engine: AsyncEngine,  # noqa: F811
) -> None:
    await source.rows.make()
    first = await source.rows.user(user_id=uuid.UUID(int=1, version=4))
    await first.profile("work", "company", "Acme")
    shell.call("import-memobase", "--execute")
    second = await source.rows.user(user_id=uuid.UUID(int=2, version=4))
    await second.profile("work", "company", "Bolt")
    report = shell.document("import-memobase", "--execute")
    assert report["users"] == {"imported": 1, "unchanged": 1, "refused": 0}
    await first.profile("life", "pet", "a dog")
    late = shell.document("import-memobase", "--execute", fails=True)
    assert late["refused_by"] == {"changed-since": 1}
    assert late["refused"][0]["place"] == f"__root__/{first.id}"
    assert len(await rows_of(engine, profiles)) == 2


async def test_who_cannot_be_one_of_ours_is_refused_with_the_field(shell: CommandLine, source: Source) -> None:
    await source.rows.make()
    await source.rows.project("a/b")
    user = await source.rows.user("a/b")
    refused = shell.call("import-memobase", fails=True)
    assert f"a/b/{user.id}: invalid-export: project_id: must not hold a slash" in refused.stderr
    assert "would import 0 users" in refused.stdout
    report = shell.document("import-memobase", "--project", "__root__")
    assert report["users"] == {"imported": 0, "unchanged": 0, "refused": 0}


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ([], "no tables of Memobase"),
        (["CREATE TABLE users (id uuid)"], "no tables of Memobase"),
        (
            ["DROP TABLE user_event_gists"],
            "another version of Memobase: it lacks user_event_gists; let Memobase 0.0.42",
        ),
        (["ALTER TABLE buffer_zones DROP COLUMN status"], "it lacks buffer_zones.status"),
    ],
)
async def test_another_database_is_refused_with_the_reason(
    shell: CommandLine, source: Source, statements: list[str], words: str
) -> None:
    if any("CREATE" not in statement for statement in statements):
        await source.rows.make()
    for statement in statements:
        await source.connection.execute(statement)
    assert words in shell.call("import-memobase", "--execute", fails=True).stderr


async def test_a_database_of_memostream_is_none_of_memobase(shell: CommandLine, database_url: str) -> None:
    refused = shell.call("import-memobase", "--from", plain_dsn(database_url), fails=True)
    assert "a database of memostream" in refused.stderr


async def test_a_database_that_is_not_there_is_named_without_its_address(
    shell: CommandLine, postgres_admin_url: str
) -> None:
    url = plain_dsn(with_database(postgres_admin_url, "no_such_memobase"))
    refused = shell.call("import-memobase", "--from", url, fails=True)
    assert "Memobase's database: there is no such database; check --from" in refused.stderr
    assert "no_such_memobase" not in refused.stderr + refused.stdout


def test_it_asks_for_the_address(shell: CommandLine) -> None:
    without: dict[str, Any] = {"MEMOSTREAM_MEMOBASE_URL": ""}
    refused = shell.with_variables(**without).call("import-memobase", fails=True)
    assert "--from" in refused.stderr
