"""The feed of changes between a real broker and many readers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from schemas.change_feed import (
    CHANGE_TOPICS,
    EARLIEST,
    LATEST,
    Change,
    ChangeFilter,
    ChangeTopic,
    Ended,
    FeedItem,
    InvalidCursor,
    PositionGone,
    Progress,
    TooManyReaders,
)
from schemas.errors import RetryLater
from schemas.settings import BufferSettings, KafkaSettings
from streams.change_feed import ChangeFeed, FeedLimits
from streams.clients import admin, producer
from streams.topics import Topics, ensure_topics, partition_for
from tests.support.ports import free_port

DEADLINE_S = 60.0
NOW_MS = 1_800_000_000_000
OURS = ChangeFilter("default")
User = tuple[str, str]


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix, partitions=2)
    await ensure_topics(settings, BufferSettings())
    return settings


class Publisher:
    """Publishes numbered changes as the relay does: in transactions, which may be aborted."""

    def __init__(self, client: AIOKafkaProducer, topics: Topics) -> None:
        self._client = client
        self._topics = topics
        self.revision = 0

    async def publish(
        self,
        *names: str,
        user: str = "default/ann",
        topic: ChangeTopic = "profile-updated",
        abort: bool = False,
        ts_ms: int = NOW_MS,
    ) -> None:
        project_id, _, user_id = user.partition("/")
        await self._client.begin_transaction()
        for name in names:
            self.revision += 1
            value = {"project_id": project_id, "user_id": user_id, "revision": self.revision, "ts_ms": ts_ms}
            await self._client.send_and_wait(
                {
                    "profile-updated": self._topics.profile_updated,
                    "event-updated": self._topics.event_updated,
                    "profiles": self._topics.profiles,
                }[topic],
                key=user.encode(),
                value=orjson.dumps(value),
                headers=[("ce_id", name.encode())],
            )
        if abort:
            await self._client.abort_transaction()
        else:
            await self._client.commit_transaction()


@pytest.fixture
async def publisher(kafka: KafkaSettings) -> AsyncIterator[Publisher]:
    async with producer(kafka, transactional_id=f"{kafka.topic_prefix}relay") as client:
        yield Publisher(client, Topics(kafka.topic_prefix))


async def nobody_forgotten(users: Collection[User]) -> Mapping[User, int]:
    return {}


@asynccontextmanager
async def running_feed(kafka: KafkaSettings, **limits: float) -> AsyncIterator[ChangeFeed]:
    feed = ChangeFeed(
        kafka,
        FeedLimits(**limits),  # type: ignore[arg-type]
        forgotten=nobody_forgotten,
        now_ms=lambda: NOW_MS,
    )
    try:
        yield feed
    finally:
        await feed.close()


@pytest.fixture
async def feed(kafka: KafkaSettings) -> AsyncIterator[ChangeFeed]:
    async with running_feed(kafka) as feed:
        yield feed


class Stream:
    """One open stream; `cursor` is where it has come to."""

    def __init__(self, items: AsyncGenerator[FeedItem, None]) -> None:
        self._items = items
        self.cursor = ""

    async def next(self) -> FeedItem:
        async with asyncio.timeout(DEADLINE_S):
            item = await anext(self._items)
        self.cursor = item.cursor
        return item

    async def names(self, count: int) -> list[str]:
        """The ids of the next changes."""
        found: list[str] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count:
                item = await self.next()
                assert not isinstance(item, Ended), item
                if isinstance(item, Change):
                    found.append(orjson.loads(item.document)["id"])
        return found

    async def end(self) -> Ended:
        while not isinstance(item := await self.next(), Ended):
            pass
        return item


@asynccontextmanager
async def stream(
    feed: ChangeFeed, after: str = LATEST, wanted: ChangeFilter = OURS, *, follow: bool = True
) -> AsyncIterator[Stream]:
    async with feed.subscribe(wanted, after, follow=follow) as items:
        opened = Stream(items)
        first = await opened.next()
        assert isinstance(first, Progress)
        yield opened


async def all_names(feed: ChangeFeed, after: str, wanted: ChangeFilter = OURS) -> list[str]:
    """Everything up to now."""
    found = []
    async with stream(feed, after, wanted, follow=False) as opened:
        while isinstance(item := await opened.next(), Change | Progress):
            if isinstance(item, Change):
                found.append(orjson.loads(item.document)["id"])
        assert item.reason == "end"
    return found


async def test_a_reader_gets_what_is_committed_from_now_on_and_nothing_that_was_aborted(
    feed: ChangeFeed, publisher: Publisher
) -> None:
    await publisher.publish("before")
    async with stream(feed) as opened:
        await publisher.publish("aborted", abort=True)
        await publisher.publish("a", "b")
        await publisher.publish("c", topic="event-updated")
        assert await opened.names(3) == ["a", "b", "c"]


async def test_wherever_a_stream_ends_the_next_one_goes_on_without_loss_or_repetition(
    feed: ChangeFeed, publisher: Publisher
) -> None:
    users = [f"default/user-{number}" for number in range(6)]
    sent: list[str] = []
    for number in range(30):
        name = f"n{number}"
        await publisher.publish(name, user=users[number % 6], topic=CHANGE_TOPICS[number % 2], abort=number % 5 == 4)
        sent += [name] if number % 5 != 4 else []
    # From the topics at first, then from what this process has at hand, too.
    got: list[str] = []
    cursor = EARLIEST
    while len(got) < len(sent):
        async with stream(feed, cursor) as opened:
            got += await opened.names(min(5, len(sent) - len(got)))
            cursor = opened.cursor
    assert sorted(got) == sorted(sent)
    for user in range(6):
        for parity in range(2):
            mine = [name for name in sent if int(name[1:]) % 6 == user and int(name[1:]) % 2 == parity]
            assert [name for name in got if name in mine] == mine


async def test_a_cursor_of_one_gateway_goes_on_at_another(
    feed: ChangeFeed, publisher: Publisher, kafka: KafkaSettings
) -> None:
    async with stream(feed) as opened:
        cursor = opened.cursor
        await publisher.publish("a", "b", "c")
        assert await opened.names(1) == ["a"]
        later = opened.cursor
    await publisher.publish("d")
    async with running_feed(kafka) as another:
        assert await all_names(another, cursor) == ["a", "b", "c", "d"]
        assert await all_names(another, later) == ["b", "c", "d"]


async def test_readers_get_their_project_their_users_and_their_topics(feed: ChangeFeed, publisher: Publisher) -> None:
    await publisher.publish("a", user="default/ann")
    await publisher.publish("b", user="default/ben", topic="event-updated")
    await publisher.publish("c", user="other/ann")
    await publisher.publish("d", user="default/ann", topic="profiles")
    assert set(await all_names(feed, EARLIEST)) == {"a", "b"}
    assert await all_names(feed, EARLIEST, ChangeFilter("other")) == ["c"]
    assert await all_names(feed, EARLIEST, ChangeFilter("default", frozenset({"ben"}))) == ["b"]
    assert await all_names(feed, EARLIEST, ChangeFilter("default", topics=frozenset({"profiles"}))) == ["d"]
    assert await all_names(feed, EARLIEST, ChangeFilter("nobody")) == []


async def test_a_quiet_stream_says_how_far_it_has_come_and_goes_on_from_there(
    kafka: KafkaSettings, publisher: Publisher
) -> None:
    async with running_feed(kafka, keep_alive_s=0.05) as feed:
        async with stream(feed, wanted=ChangeFilter("quiet")) as opened:
            started = opened.cursor
            await publisher.publish("a", "b")
            while opened.cursor == started:
                assert isinstance(await opened.next(), Progress)
            while isinstance(await opened.next(), Progress) and not await _is_at_end(feed, opened.cursor):
                pass
        assert await all_names(feed, opened.cursor) == []


async def _is_at_end(feed: ChangeFeed, cursor: str) -> bool:
    return await all_names(feed, cursor) == []


async def test_a_reader_that_falls_too_far_behind_is_told_and_can_go_on(
    kafka: KafkaSettings, publisher: Publisher
) -> None:
    async with running_feed(kafka, kept_bytes=10_000) as feed, stream(feed) as quick, stream(feed) as slow:
        names = [f"n{number}" for number in range(30)]
        await publisher.publish(names[0])
        assert await slow.names(1) == names[:1]
        for name in names[1:]:
            await publisher.publish(name)
        assert await quick.names(30) == names
        end = await slow.end()
        assert end.reason == "too-slow"
        assert await all_names(feed, end.cursor) == names[1:]


async def test_what_is_kept_for_readers_stays_within_its_limit(kafka: KafkaSettings, publisher: Publisher) -> None:
    async with running_feed(kafka, kept_bytes=10_000) as feed, stream(feed) as opened:
        for number in range(40):
            await publisher.publish(f"n{number}")
        assert len(await opened.names(40)) == 40
        assert feed._tail is not None
        kept = feed._tail.recent
        assert sum(kept[number].size_bytes for number in range(kept.first, kept.next)) <= 10_000


async def test_positions_that_are_gone_are_refused_and_not_skipped(
    feed: ChangeFeed, publisher: Publisher, kafka: KafkaSettings
) -> None:
    async with stream(feed) as opened:
        cursor = opened.cursor
    await publisher.publish("a", "b")
    place = _place_of_ann(kafka)
    async with admin(kafka) as client:
        await client.delete_records({place: RecordsToDelete(before_offset=1)})
    await feed.close()
    async with running_feed(kafka) as another:
        with pytest.raises(PositionGone, match="retention"):
            async with stream(another, cursor):
                pass
        assert await all_names(another, EARLIEST) == ["b"]
        with pytest.raises(PositionGone, match="made anew"):
            async with stream(another, "v1-99.99-0.0-0.0"):
                pass
        with pytest.raises(InvalidCursor):
            async with stream(another, "yesterday"):
                pass


def _place_of_ann(kafka: KafkaSettings) -> TopicPartition:
    return TopicPartition(Topics(kafka.topic_prefix).profile_updated, partition_for(b"default/ann", kafka.partitions))


async def test_partitions_that_are_added_are_read_from_their_beginning(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.change_consumer.METADATA_MAX_AGE_MS", 200)
    async with running_feed(kafka) as feed, stream(feed) as opened:
        cursor = opened.cursor
        async with admin(kafka) as client:
            await client.create_partitions({Topics(kafka.topic_prefix).profile_updated: NewPartitions(4)})
        names = [f"n{number}" for number in range(12)]
        async with producer(kafka, transactional_id=f"{kafka.topic_prefix}relay") as client:
            publisher = Publisher(client, Topics(kafka.topic_prefix))
            for name in names:
                await publisher.publish(name, user=f"default/{name}")
        assert sorted(await opened.names(12)) == sorted(names)
        assert sorted(await all_names(feed, cursor)) == sorted(names)


async def test_what_was_committed_before_its_user_was_forgotten_is_left_out(
    publisher: Publisher, kafka: KafkaSettings
) -> None:
    asked: list[Collection[User]] = []

    async def forgotten(users: Collection[User]) -> Mapping[User, int]:
        asked.append(users)
        return {("default", "ann"): 2}

    feed = ChangeFeed(kafka, FeedLimits(), forgotten=forgotten, now_ms=lambda: NOW_MS)
    try:
        async with stream(feed) as opened:
            began = opened.cursor
            await publisher.publish("a", "b")
            await publisher.publish("c", user="default/ben")
            # Who was there before is told at once.
            assert sorted(await opened.names(3)) == ["a", "b", "c"]
            assert asked == []
            await publisher.publish("d")
            assert await opened.names(1) == ["d"]
            # From what is at hand, and from the topics.
            assert sorted(await all_names(feed, began)) == ["c", "d"]
            assert sorted(await all_names(feed, EARLIEST)) == ["c", "d"]
        assert set().union(*asked) == {("default", "ann"), ("default", "ben")}
    finally:
        await feed.close()


async def test_streams_are_limited_in_sum_and_for_a_project(kafka: KafkaSettings) -> None:
    async with running_feed(kafka, streams=3, streams_of_a_project=2) as feed, AsyncExitStack() as stack:
        for wanted in (OURS, OURS, ChangeFilter("other")):
            await stack.enter_async_context(stream(feed, wanted=wanted))
        with pytest.raises(TooManyReaders, match="gateway"):
            async with stream(feed, wanted=ChangeFilter("third")):
                pass
        await stack.aclose()
        async with stream(feed), stream(feed):
            with pytest.raises(TooManyReaders, match="project"):
                async with stream(feed):
                    pass


async def test_older_changes_are_read_by_a_few_at_a_time_and_others_get_their_turn(
    kafka: KafkaSettings, publisher: Publisher
) -> None:
    names = [f"n{number}" for number in range(250)]
    await publisher.publish(*names)
    async with running_feed(kafka, older_readers=1, turn_s=0.0) as feed, stream(feed, EARLIEST) as first:
        assert await first.names(1) == names[:1]
        second = asyncio.create_task(all_names(feed, EARLIEST))
        got = names[:1]
        while not isinstance(item := await first.next(), Ended):
            await asyncio.sleep(0.01)
            got += [orjson.loads(item.document)["id"]] if isinstance(item, Change) else []
        assert item.reason == "turn"
        assert await second == names
        assert got + await all_names(feed, item.cursor) == names


async def test_a_stop_ends_every_stream_with_its_position_and_refuses_new_ones(
    kafka: KafkaSettings, publisher: Publisher
) -> None:
    async with running_feed(kafka) as feed, stream(feed) as opened:
        await publisher.publish("a")
        assert await opened.names(1) == ["a"]
        ending = asyncio.create_task(opened.end())
        await asyncio.sleep(0)
        feed.stop()
        end = await ending
        assert end.reason == "stopping"
        with pytest.raises(RetryLater, match="stopping"):
            async with stream(feed):
                pass
    await publisher.publish("b")
    async with running_feed(kafka) as another:
        assert await all_names(another, end.cursor) == ["b"]


async def test_the_broker_is_left_alone_when_nobody_reads(kafka: KafkaSettings) -> None:
    async with running_feed(kafka, linger_s=0.0) as feed:
        async with stream(feed):
            tail = feed._tail
        assert tail is not None
        async with asyncio.timeout(DEADLINE_S):
            while tail.is_running:
                await asyncio.sleep(0.01)
        async with stream(feed):
            assert feed._tail is not tail


async def test_without_a_broker_a_stream_is_refused_and_not_begun(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.change_feed.READY_TIMEOUT_S", 0.5)
    away = kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    async with running_feed(away) as feed:
        with pytest.raises(RetryLater, match="Kafka"):
            async with stream(feed):
                pass


async def test_a_stream_may_be_left_at_any_moment(feed: ChangeFeed, publisher: Publisher) -> None:
    await publisher.publish(*(f"n{number}" for number in range(20)))
    for steps in range(8):
        async with feed.subscribe(OURS, EARLIEST) as items, aclosing(items):
            for _ in range(steps):
                await anext(items)
    assert len(await all_names(feed, EARLIEST)) == 20
