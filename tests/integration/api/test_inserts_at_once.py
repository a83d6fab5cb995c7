"""Many inserts at a time, and a broker that is killed meanwhile: whoever got an id has their message in memory."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.insert_load import inserter, inserts_of
from embedded import EmbeddedKafka
from tests.conftest import run_apart
from tests.support.running_gateway import ROOT_TOKEN, running_system

INSERTS = 100
CONNECTIONS = 64
USERS = 20
TIMEOUT_S = 1.5

# A broker twice, a worker, a gateway and a flush, on a machine that may be slow.
pytestmark = pytest.mark.timeout(400)


def test_every_call_gets_an_id_that_is_applied_or_is_told_to_come_again(
    tmp_path: Path, postgres_admin_url: str, template_database: str, program: Sequence[str]
) -> None:
    broker = EmbeddedKafka(tmp_path / "broker")
    run_apart(broker.start())
    limits = {"MEMOSTREAM_API__PRODUCE_TIMEOUT_S": str(TIMEOUT_S)}
    try:
        with running_system(
            tmp_path, broker.bootstrap_servers, postgres_admin_url, template_database, program, **limits
        ) as system:

            async def restart() -> None:
                await broker.kill()
                # Longer than a call waits, so that some are refused.
                await asyncio.sleep(2 * TIMEOUT_S)
                await broker.start()

            async def check() -> None:
                async with inserter(system.url, ROOT_TOKEN, CONNECTIONS) as load:
                    runs = [
                        await load.insert(inserts_of(INSERTS, USERS, 1)),
                        await load.insert_during(restart(), inserts_of(INSERTS, USERS, 2)),
                    ]
                    assert [answer.why for run in runs for answer in run.of("failed")] == []
                    stored = [answer for run in runs for answer in run.of("stored")]
                    refused = [answer for run in runs for answer in run.of("refused")]
                    assert len(stored) + len(refused) == 2 * INSERTS
                    assert len({answer.blob_id for answer in stored}) == len(stored)
                    assert refused
                    await asyncio.to_thread(system.shell.run, "flush", "--all", timeout_s=120)
                    assert Counter(await load.states(stored)) == Counter(applied=len(stored))

            run_apart(check())
    finally:
        run_apart(broker.stop())
