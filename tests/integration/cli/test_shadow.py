"""A shadow on a running system: made from what was said, by any number of workers, while live memory goes on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from tests.conftest import plain_dsn
from tests.integration.cli.test_replay import SAID, said
from tests.support.command_line import CommandLine

DEADLINE_S = 60.0
# Another policy is another extractor.
OTHER = {"MEMOSTREAM_PROFILE__MAX_PROFILE_SUBTOPICS": "7"}


async def rows(shell: CommandLine, query: str) -> list[Any]:
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def slots(shell: CommandLine, generation: int) -> set[tuple[str, str, str, str]]:
    query = "SELECT user_id, topic, sub_topic, content FROM profiles WHERE generation = "
    return {tuple(row) for row in await rows(shell, f"{query}{generation}")}


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await found():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def test_a_shadow_is_made_beside_live_memory_and_follows_it(shell: CommandLine) -> None:
    other = shell.with_variables(**OTHER)
    run = ("replay", "run", "--into", "shadow", "--shadow", "b")
    with shell.background("worker", until="worker.started"):
        await said(shell, "ann", "bo")
        shell.call("flush", "--all")
        live = await slots(shell, 0)
        assert {row[0] for row in live} == {"ann", "bo"}
        planned = other.document(*run, "--to-earliest")
        assert (planned["messages"], planned["users"], planned["follows"]) == (2 * len(SAID), 2, True)
        assert await rows(shell, "SELECT 1 FROM shadows") == []
        before = await rows(shell, "SELECT count(*) FROM ledger")
        with other.background(*run, "--to-earliest", "--execute", until="worker.started") as first:
            generation = (await rows(shell, "SELECT generation FROM shadows"))[0][0]

            async def is_equal() -> bool:
                return await slots(shell, generation) == await slots(shell, 0)

            await until(is_equal)
            with other.background(*run, "--execute", until="worker.started"):
                await said(shell, "cy")
                shell.call("flush", "--all")
                assert {row[0] for row in await slots(shell, 0)} == {"ann", "bo", "cy"}
                first.stop()
                await until(is_equal)
        assert await rows(shell, "SELECT count(*) FROM ledger") > before
        assert await rows(shell, "SELECT 1 FROM usage WHERE generation IS NOT NULL") != []
        assert "is extracted by" in shell.call(*run, "--execute", fails=True).stderr
        assert "has its range already" in other.call(*run, "--to-earliest", fails=True).stderr
