"""Two workers and a gateway: every user's buffer is told by its owner, and by nobody who only was it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.buffer_views import BufferView
from schemas.errors import ConfigurationError, RetryLater
from schemas.records import Blob, Command, parse_record
from schemas.settings import Settings, WorkerSettings
from schemas.windows import Position
from storage.database import create_engine
from storage.workers import read_workers
from streams.buffer_queries import HttpAsker, WorkerBufferQueries, buffer_queries
from streams.buffer_service import MAX_WAIT_S, VIEW_PATH, Answer, Question, serve_buffers
from streams.message_log import KafkaMessageLog, message_log
from streams.topics import partition_for
from tests.support.buffer_step import FOUR, chat, flush
from tests.support.buffer_worker import WorkerProcess, running_worker, worker_settings

WAIT_S = 60.0
USERS = [f"user {number}" for number in range(24)]


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str, database_url: str) -> Settings:
    return worker_settings(kafka_bootstrap, topic_prefix, partitions=FOUR, database_url=database_url)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(settings.storage)
    yield engine
    await engine.dispose()


@pytest.fixture
async def log(settings: Settings) -> AsyncIterator[KafkaMessageLog]:
    async with message_log(settings.kafka, settings.buffer, WAIT_S) as opened:
        yield opened


@pytest.fixture
async def queries(settings: Settings, engine: AsyncEngine) -> AsyncIterator[WorkerBufferQueries]:
    async with buffer_queries(engine, settings.kafka) as opened:
        yield opened


def blob(identifier: str, user_id: str = "u1") -> Blob:
    made = parse_record(chat("hi", user_id=user_id, id=identifier))
    assert not isinstance(made, Command)
    return made


def ids(view: BufferView) -> list[str]:
    return [blob.blob_id for blob in view.blobs]


async def send(log: KafkaMessageLog, number: int) -> dict[str, Position]:
    """A blob of each user."""
    positions = await asyncio.gather(*(log.send_blob(blob(f"b{number}", user_id)) for user_id in USERS))
    return dict(zip(USERS, positions, strict=True))


async def views(queries: WorkerBufferQueries, past: dict[str, Position]) -> dict[str, BufferView]:
    found = await asyncio.gather(
        *(queries.view("default", user_id, past=past[user_id], wait_s=WAIT_S) for user_id in USERS)
    )
    return dict(zip(USERS, found, strict=True))


async def test_what_was_sent_is_seen_buffered_and_then_in_the_window_that_a_flush_closed(
    settings: Settings, log: KafkaMessageLog, queries: WorkerBufferQueries, engine: AsyncEngine
) -> None:
    async with running_worker(settings):
        first = await log.send_blob(blob("b1"))
        second = await log.send_blob(blob("b2"))
        view = await queries.view("default", "u1", past=second, wait_s=WAIT_S)
        assert view.partition == first.partition == partition_for(b"u1", FOUR)
        assert [(found.blob_id, found.position) for found in view.blobs] == [("b1", first), ("b2", second)]
        command = parse_record(flush(id="f1"))
        assert isinstance(command, Command)
        closed_by = await log.send_command(command)
        view = await queries.view("default", "u1", past=closed_by, wait_s=WAIT_S)
        assert view.blobs == ()
        assert view.windows_of("b1") == view.windows_of("b2") == view.windows_closed_by(closed_by) != ()
        assert (await queries.view("elsewhere", "u1")).closed == ()
        # Whoever knows the address, but not what stands in the database, is told nothing.
        async with engine.connect() as connection:
            (worker,) = await read_workers(connection, settings.kafka.topic_prefix)
        question = b'{"project_id": "default", "user_id": "u1"}'
        async with aiohttp.ClientSession() as session:
            for headers in ({}, {"Authorization": "Bearer guessed"}, {"Authorization": "Bearer gu\u00e9ssed"}):
                async with session.post(f"{worker.url}{VIEW_PATH}", data=question, headers=headers) as answer:
                    assert (answer.status, "b1" in await answer.text()) == (401, False)
            known = {"Authorization": f"Bearer {worker.token}"}
            async with session.post(f"{worker.url}{VIEW_PATH}", data=b'{"user_id": 7}', headers=known) as answer:
                assert answer.status == 400
    # The worker has left the registry, and what is asked after that is answered at once.
    with pytest.raises(RetryLater):
        await queries.view("default", "u1")
    async with engine.connect() as connection:
        assert await read_workers(connection, settings.kafka.topic_prefix) == ()


async def test_a_new_owner_knows_at_once_how_far_the_former_one_had_come(
    settings: Settings, log: KafkaMessageLog, queries: WorkerBufferQueries
) -> None:
    async with running_worker(settings):
        sent = await log.send_blob(blob("b1"))
        assert ids(await queries.view("default", "u1", past=sent, wait_s=WAIT_S)) == ["b1"]
    # Nothing comes any more that the next owner could commit. It listens to other machines, too, and knows its address.
    open_to_others = settings.model_copy(update={"worker": WorkerSettings(internal_host="0.0.0.0")})
    async with running_worker(open_to_others):
        view = await queries.view("default", "u1", past=sent, wait_s=WAIT_S)
        assert view.has_passed(sent)
        assert ids(view) == ["b1"]


async def test_a_port_that_is_taken_is_named(settings: Settings) -> None:
    async with serve_buffers(WorkerSettings(), settings.kafka) as service:
        port = int(service.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigurationError, match=f"worker.internal_port {port}"):
            async with serve_buffers(WorkerSettings(internal_port=port), settings.kafka):
                pass
    async with serve_buffers(WorkerSettings(internal_url="http://Worker.example:80/"), settings.kafka) as service:
        assert service.url == "http://worker.example"


async def test_owners_answer_for_their_own_through_freezes_and_kills(
    settings: Settings, log: KafkaMessageLog, queries: WorkerBufferQueries, engine: AsyncEngine, tmp_path: Path
) -> None:
    workers = [WorkerProcess(settings, tmp_path / f"{number}.log") for number in range(2)]
    try:
        found = await views(queries, await send(log, 1))
        assert {user_id: ids(view) for user_id, view in found.items()} == {user_id: ["b1"] for user_id in USERS}
        # Both are members by now, and each has its own.
        while len(set(queries._owners.values())) < 2:
            await views(queries, await send(log, 2))
        urls = dict(queries._owners)
        async with engine.connect() as connection:
            registered = await read_workers(connection, settings.kafka.topic_prefix)
        (frozen,) = [worker for worker in registered if worker.name.endswith(f"-{workers[0].pid}")]
        its_users = [user_id for user_id in USERS if urls[partition_for(user_id.encode(), FOUR)] == frozen.url]

        workers[0].freeze()
        late = await send(log, 3)
        async with asyncio.timeout(WAIT_S):
            asked = [queries.view("default", user_id) for user_id in USERS]
            answers = dict(zip(USERS, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        # The other's users are told of. Those of the frozen one are, too, once the other one has taken over.
        assert all(isinstance(answers[user_id], BufferView) for user_id in USERS if user_id not in its_users)
        assert all(isinstance(answers[user_id], BufferView | RetryLater) for user_id in its_users)
        # After its session the other one takes over, and decides what came meanwhile.
        found = await views(queries, late)
        assert all((ids(view)[0], ids(view)[-1]) == ("b1", "b3") for view in found.values())

        # Asked while it is frozen, it finds the questions when it wakes, before it knows what it has lost.
        async with aiohttp.ClientSession() as session:
            ask = HttpAsker(session)
            # The wait is none of the worker's: nothing is to be waited for. It lets us wait for the answer.
            questions = [Question(project_id="default", user_id=user_id, wait_s=MAX_WAIT_S) for user_id in its_users]
            asking = [asyncio.create_task(ask(frozen, question)) for question in questions]
            await asyncio.sleep(0.5)
            workers[0].thaw()
            told = [
                answer for answer in await asyncio.gather(*asking, return_exceptions=True) if isinstance(answer, Answer)
            ]
        assert told
        assert [answer.view for answer in told if answer.view is not None and ids(answer.view)[-1] != "b3"] == []

        workers[1].kill()
        found = await views(queries, await send(log, 4))
        assert all((ids(view)[0], ids(view)[-1]) == ("b1", "b4") for view in found.values())
        assert workers[0].exit_code is None, workers[0].log_tail()
    finally:
        for worker in workers:
            worker.thaw()
            worker.kill()
