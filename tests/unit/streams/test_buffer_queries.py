"""Finding the owner of a user's partition among workers that come, go, freeze and point at each other."""

import asyncio
from collections.abc import Callable, Mapping
from uuid import uuid4

import pytest

from schemas.buffer_views import BufferView
from schemas.errors import RetryLater
from schemas.windows import Position
from storage.workers import RegisteredWorker
from streams import buffer_queries
from streams.buffer_queries import NoAnswer, WorkerBufferQueries
from streams.buffer_service import Answer, Question
from tests.support.buffer_step import FOUR, START_MS, TOPIC

Reply = Callable[[Question], Answer]


def worker(name: str) -> RegisteredWorker:
    return RegisteredWorker(uuid4(), name, "", ("buffer",), url_of(name), f"token of {name}")


def url_of(name: str) -> str:
    return f"http://{name}:1"


def view(next_offset: int = 9) -> Answer:
    return Answer(partitions=FOUR, view=BufferView(partition=0, next_offset=next_offset))


def owns(question: Question) -> Answer:
    return view()


def points_at(name: str | None) -> Reply:
    return lambda _: Answer(partitions=FOUR, owner=name and url_of(name))


def refuses(question: Question) -> Answer:
    return Answer(partitions=FOUR, reason="partition 0 is changing hands")


def silent(question: Question) -> Answer:
    raise NoAnswer("TimeoutError")


class Deployment:
    """Workers by name with what they reply, and who was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.registered: dict[str, RegisteredWorker] | None = {}
        self.asked: list[str] = []
        self.questions: list[Question] = []
        self.looked_again = 0
        self.queries = WorkerBufferQueries(self.ask, self.workers, FOUR)

    def has(self, **replies: Reply) -> None:
        self.replies = replies
        self.registered = {url_of(name): worker(name) for name in replies}

    async def ask(self, worker: RegisteredWorker, question: Question) -> Answer:
        self.asked.append(worker.name)
        self.questions.append(question)
        return self.replies[worker.name](question)

    async def workers(self, *, newer_than_s: float) -> Mapping[str, RegisteredWorker]:
        self.looked_again += newer_than_s < buffer_queries.KEEP_WORKERS_S
        if self.registered is None:
            raise RetryLater("Postgres is away")
        return self.registered

    async def view(self, user_id: str = "u1", **options: float) -> BufferView:
        return await self.queries.view("default", user_id, **options)  # type: ignore[arg-type]


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setattr(buffer_queries, "RETRY_S", 0.01)
    return Deployment()


async def test_a_worker_that_does_not_own_the_partition_names_the_one_that_does(deployment: Deployment) -> None:
    deployment.has(other=points_at("owner"), third=points_at("owner"), owner=owns)
    assert (await deployment.view()).next_offset == 9
    assert deployment.asked == ["other", "owner"]


async def test_the_owner_is_asked_at_once_the_next_time(deployment: Deployment) -> None:
    deployment.has(other=points_at("owner"), owner=owns)
    await deployment.view()
    await deployment.view()
    assert deployment.asked == ["other", "owner", "owner"]


async def test_when_the_owner_has_changed_the_former_one_names_the_new_one(deployment: Deployment) -> None:
    deployment.has(first=owns, second=points_at("first"))
    await deployment.view()
    deployment.has(first=points_at("second"), second=owns)
    await deployment.view()
    assert deployment.asked == ["first", "first", "second"]


async def test_an_owner_that_does_not_answer_is_not_waited_for_by_everybody(deployment: Deployment) -> None:
    deployment.has(frozen=silent, other=points_at("frozen"))
    for _ in range(3):
        with pytest.raises(RetryLater, match="changing hands"):
            await deployment.view()
    assert deployment.asked.count("frozen") == 1


async def test_another_worker_is_asked_when_one_does_not_answer(deployment: Deployment) -> None:
    deployment.has(frozen=silent, owner=owns)
    assert (await deployment.view()).next_offset == 9


async def test_an_owner_that_the_registry_did_not_have_yet_is_looked_up_again(deployment: Deployment) -> None:
    deployment.has(other=points_at("late"), late=owns)
    late = deployment.registered and deployment.registered.pop(url_of("late"))
    workers = deployment.workers

    async def later(*, newer_than_s: float) -> Mapping[str, RegisteredWorker]:
        found = await workers(newer_than_s=newer_than_s)
        return {**found, url_of("late"): late} if deployment.looked_again and late else found

    deployment.queries = WorkerBufferQueries(deployment.ask, later, FOUR)
    assert (await deployment.view()).next_offset == 9
    assert deployment.asked == ["other", "late"]


async def test_workers_that_point_at_each_other_are_asked_once_each(deployment: Deployment) -> None:
    deployment.has(first=points_at("second"), second=points_at("first"))
    with pytest.raises(RetryLater, match="changing hands"):
        await deployment.view()
    assert deployment.asked == ["first", "second"]


async def test_during_a_rebalance_the_reason_is_passed_on_with_a_delay(deployment: Deployment) -> None:
    deployment.has(first=refuses, second=points_at(None))
    with pytest.raises(RetryLater, match="changing hands") as caught:
        await deployment.view()
    assert caught.value.delay_s > 0
    assert deployment.asked == ["first", "second"]


async def test_without_any_worker_or_registry_the_answer_is_to_come_again(deployment: Deployment) -> None:
    with pytest.raises(RetryLater, match="no worker with the role buffer"):
        await deployment.view()
    assert await deployment.queries.problems() == ("no worker with the role buffer is registered",)
    deployment.registered = None
    with pytest.raises(RetryLater, match="Postgres is away"):
        await deployment.view()
    assert await deployment.queries.problems() == ("Postgres is away",)


async def test_a_caller_who_waits_is_answered_when_the_rebalance_is_over(deployment: Deployment) -> None:
    left = iter([refuses, refuses, silent, owns])
    deployment.has(first=lambda question: next(left)(question), other=points_at("first"))
    deployment.queries._silent_until_s = Forgetful()
    past = Position(topic=TOPIC, partition=0, offset=8, timestamp_ms=START_MS)
    assert (await deployment.queries.view("default", "u1", past=past, wait_s=60)).has_passed(past)


async def test_a_caller_who_waits_asks_again_until_the_record_is_decided_or_time_is_up(deployment: Deployment) -> None:
    offsets = iter(range(4, 100))
    deployment.has(owner=lambda _: view(next(offsets)))
    past = Position(topic=TOPIC, partition=0, offset=5, timestamp_ms=START_MS)
    found = await deployment.queries.view("default", "u1", past=past, wait_s=60)
    assert found.next_offset == 6
    assert [question.past for question in deployment.questions] == [5, 5, 5]
    assert all(0 < question.wait_s <= buffer_queries.POLL_S for question in deployment.questions)
    unmet = Position(topic=TOPIC, partition=0, offset=500, timestamp_ms=START_MS)
    assert not (await deployment.queries.view("default", "u1", past=unmet)).has_passed(unmet)


async def test_nobody_waits_longer_than_the_bound(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_queries, "BOUND_S", 0.05)

    async def never(worker: RegisteredWorker, question: Question) -> Answer:
        await asyncio.Event().wait()
        return owns(question)

    deployment.has(owner=owns)
    deployment.queries = WorkerBufferQueries(never, deployment.workers, FOUR)
    with pytest.raises(RetryLater, match="in time"):
        await deployment.view()


class Forgetful(dict[str, float]):
    """Remembers no worker that was silent."""

    def __setitem__(self, key: str, value: float) -> None:
        pass
