"""The registry of workers: who is in it, for how long, and for whom."""

import asyncio
from dataclasses import replace
from uuid import uuid4

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.tables import workers
from storage.workers import RegisteredWorker, beat, extraction_workers, leave, read_workers
from tests.integration.storage.builders import EXTRACTOR


def worker(name: str, **changes: object) -> RegisteredWorker:
    made = RegisteredWorker(uuid4(), name, "p-", ("buffer", "relay"), f"http://{name}:1", f"secret of {name}")
    return replace(made, **changes)  # type: ignore[arg-type]


async def registered(engine: AsyncEngine, *entries: RegisteredWorker, lifetime_s: float = 60) -> None:
    for entry in entries:
        async with engine.begin() as connection:
            await beat(connection, entry, lifetime_s)


async def alive(engine: AsyncEngine, prefix: str = "p-") -> list[RegisteredWorker]:
    async with engine.connect() as connection:
        return list(await read_workers(connection, prefix))


async def test_the_newest_worker_comes_first_with_all_that_it_told(engine: AsyncEngine) -> None:
    first, second = worker("first"), worker("second", url=None, token=None, roles=("extraction",))
    await registered(engine, first, second)
    assert await alive(engine) == [second, first]


async def test_workers_on_other_topics_are_not_seen(engine: AsyncEngine) -> None:
    await registered(engine, worker("ours"), worker("theirs", topic_prefix="other-"))
    assert [entry.name for entry in await alive(engine)] == ["ours"]


async def test_a_worker_that_has_stopped_beating_is_gone_and_forgotten_by_the_next_beat(engine: AsyncEngine) -> None:
    silent, beating = worker("silent"), worker("beating")
    await registered(engine, silent, beating)
    async with engine.begin() as connection:
        past = update(workers).where(workers.c.name == "silent").values(expires_at=func.clock_timestamp())
        await connection.execute(past)
    assert [entry.name for entry in await alive(engine)] == ["beating"]
    await registered(engine, beating)
    async with engine.connect() as connection:
        assert (await connection.execute(select(workers.c.name))).scalars().all() == ["beating"]


async def test_a_worker_that_woke_up_again_is_back_with_its_next_beat(engine: AsyncEngine) -> None:
    slept = worker("slept")
    await registered(engine, slept, lifetime_s=0)
    assert await alive(engine) == []
    await registered(engine, slept)
    assert await alive(engine) == [slept]


async def test_a_worker_that_leaves_is_gone_at_once(engine: AsyncEngine) -> None:
    leaving, staying = worker("leaving"), worker("staying")
    await registered(engine, leaving, staying)
    async with engine.begin() as connection:
        await leave(connection, leaving.worker_id)
    assert await alive(engine) == [staying]


async def test_many_that_beat_while_others_expire_do_not_wait_for_each_other(engine: AsyncEngine) -> None:
    many = [worker(f"w{number}") for number in range(12)]
    await registered(engine, *many, lifetime_s=0)
    await asyncio.gather(*(registered(engine, entry) for entry in many))
    assert {entry.name for entry in await alive(engine)} == {entry.name for entry in many}


def test_the_token_of_a_worker_stands_in_no_log() -> None:
    assert "secret" not in repr(worker("w"))


async def test_workers_that_extract_tell_by_what(engine: AsyncEngine) -> None:
    extracting = worker("extracting", roles=("buffer", "extraction"), extractor=EXTRACTOR)
    older = worker("older", roles=("extraction",))
    elsewhere = worker("elsewhere", roles=("extraction",), extractor=EXTRACTOR, topic_prefix="other-")
    await registered(engine, extracting, older, elsewhere, worker("buffering"), worker("shadow", roles=("shadow",)))
    async with engine.connect() as connection:
        assert await extraction_workers(connection, "p-") == [("extracting", EXTRACTOR), ("older", None)]
