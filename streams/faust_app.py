"""Faust as we use it: every default that hurts set in one place, and a transport that reads committed records."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, cast

import aiokafka
import faust
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.app.router import Router
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer, Transport
from faust.types import TP
from faust.types.auth import SASLMechanism
from faust.types.transports import SchedulingStrategyT
from faust.types.tuples import ConsumerMessage, Message
from yarl import URL

from schemas.settings import KafkaSettings
from streams.clients import MAX_REQUEST_BYTES, translated
from streams.header_names import read_any_header_names
from streams.recovery import PatientRecovery, tables_with
from streams.starting import patiently
from streams.stopping import FAREWELL_S

# Records queued in front of an agent; Faust's 4,096 would be as many windows.
STREAM_BUFFER_RECORDS: Final = 512
# A record of twice max_blob_bytes has to fit one fetch.
MAX_FETCH_BYTES: Final = 4 * (1 << 20)
# A stage that is full asks for nothing, for as long as a model or Postgres is away. After this long without a fetch
# aiokafka would leave the group, by Faust's default after 1,000 s; whether a worker stands still is asked elsewhere
# (streams/liveness.py), and its session ends in seconds.
MAX_POLL_INTERVAL_S: Final = 7 * 24 * 3600.0
# Of the group, where aiokafka did not come to it.
LAST_FAREWELL_S: Final = 1.0
# A partition that is resumed waits for the fetch of the others to return; Faust lets that take 1.5 s.
MAX_FETCH_WAIT_S: Final = 0.1

log = structlog.get_logger()


class _ReadCommittedThread(AIOKafkaConsumerThread):
    """Faust reads committed records only with its own `exactly_once`, which loses and doubles records."""

    _seeks = 0

    async def on_start(self) -> None:
        """Connect; a stop meanwhile ends it, for the thread would not see that it is to stop before it has started."""
        await self.wait(super().on_start())

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        _wait_for_brokers(consumer._client, self.app)  # noqa: SLF001
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_max_wait_ms = int(MAX_FETCH_WAIT_S * 1000)  # noqa: SLF001
        return read_any_header_names(consumer)

    async def stop(self) -> None:
        """Close the loop, too, of a thread that was never started, for only the thread would."""
        await super().stop()
        if not self._thread_started.is_set():
            self.thread_loop.close()

    async def on_thread_stop(self) -> None:
        """Leave the group, so that the others need not wait for the session to end; but not for a broker that is away.

        aiokafka lets a join that is under way come to its end first, which waits for every member of the group.
        """
        try:
            async with asyncio.timeout(FAREWELL_S):
                await super().on_thread_stop()
        # Where the broker is gone aiokafka waits for tasks of its own that it has cancelled; passed on, this would keep
        # the parent waiting for a thread that has ended.
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(LAST_FAREWELL_S):
                    await self._ensure_consumer()._coordinator._maybe_leave_group()  # noqa: SLF001
            log.warning("consumer.not_closed", group=self.app.conf.id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every partition to its committed offset, or to its beginning where nothing is committed yet.

        Faust drops what it has fetched when a rebalance begins and seeks back; aiokafka does not seek without a commit,
        so the first records of a partition would be skipped for good.
        """
        offsets: Mapping[TP, int] = await self.call_thread(self._seek_to_committed_or_beginning)
        return offsets

    async def _seek_to_committed_or_beginning(self) -> Mapping[Any, int]:
        consumer = self._ensure_consumer()
        self._seeks += 1
        number = self._seeks
        committed = {place: await consumer.committed(place) for place in consumer.assignment()}
        fresh = [place for place, offset in committed.items() if not offset]
        offsets = {**committed, **(await consumer.beginning_offsets(fresh) if fresh else {})}
        # One that a rebalance has overtaken while the broker was away must not take later reading back.
        if number == self._seeks:
            for place, offset in offsets.items():
                consumer.seek(place, offset)
        return offsets

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Watch the fetcher only: offsets are committed by us, so Faust's warnings of a stalled commit are false."""
        self._verify_aiokafka_event_path(now, tp)

    def request_rejoin(self) -> None:
        """Ask the group for a new assignment; may be called from any thread."""
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        self.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)

    async def confirm_membership(self) -> bool:
        """Send a heartbeat now, from any thread's loop, and tell whether the group still knows this member."""
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        heartbeat = asyncio.run_coroutine_threadsafe(coordinator._do_heartbeat(), self.thread_loop)  # noqa: SLF001
        return bool(await asyncio.wrap_future(heartbeat))

    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset that is fetched of each partition that this member has; only read, so from any thread."""
        consumer = self._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None  # noqa: SLF001
        if subscription is None or subscription.assignment is None:
            return {}
        assignment = subscription.assignment
        known = {place: assignment.state_value(place)._position for place in assignment.tps}  # noqa: SLF001
        return {place: position for place, position in known.items() if position is not None}

    def readable_ends(self) -> Mapping[TopicPartition, int]:
        """Up to which offset each partition can be read, as the last fetch has told; only read, as `positions`."""
        consumer = self._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None  # noqa: SLF001
        if subscription is None or subscription.assignment is None:
            return {}
        assignment = subscription.assignment
        known = {place: assignment.state_value(place).lso for place in assignment.tps}
        return {place: end for place, end in known.items() if end is not None}


class _ReadCommittedConsumer(Consumer):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # A transaction's marker moves a position, too, so this tells what there was to be done.
        self.last_fetched: dict[TopicPartition, int] = {}

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        self.last_fetched[TopicPartition(*tp)] = record.offset
        return super()._to_message(tp, record)

    def positions(self) -> Mapping[TopicPartition, int]:
        return cast(_ReadCommittedThread, self._thread).positions()

    def readable_ends(self) -> Mapping[TopicPartition, int]:
        return cast(_ReadCommittedThread, self._thread).readable_ends()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        # Faust would take the policy's loop, and whoever runs the app on uvloop need not have set a policy.
        thread_loop = type(self.loop)()
        thread = _ReadCommittedThread(self, loop=self.loop, thread_loop=thread_loop, beacon=self.beacon)
        # It closes only what it has made itself.
        thread._close_thread_loop_on_stop = True  # noqa: SLF001
        return thread

    def request_rejoin(self) -> None:
        cast(_ReadCommittedThread, self._thread).request_rejoin()

    async def confirm_membership(self) -> bool:
        return await cast(_ReadCommittedThread, self._thread).confirm_membership()


class _FetchConsumer(_ReadCommittedConsumer):
    """Delivers what a fetch brought of a partition as one message, whose value is the list of its records.

    A message costs Faust several tasks, a lock and an event, whatever it holds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._room = asyncio.Event()

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        """`record` is a list, as `WholeFetches` gives it."""
        message = super()._to_message(tp, record[-1])
        message.key, message.value, message.headers = None, record, None
        return message

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Wait for a moment only: what is asked for leaves out partitions that were full when the wait began."""
        if self.flow_active and not self._get_active_partitions():
            # Faust sleeps for a second where every partition is full.
            self._room.clear()
            await self.wait(self._room.wait(), timeout=timeout)
        async for delivery in super().getmany(min(timeout, MAX_FETCH_WAIT_S)):
            yield delivery

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._room.set()


class WholeFetches(SchedulingStrategyT):
    """Takes what a fetch brought a partition at a time, not a record at a time."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        return ((tp, fetched) for tp, fetched in records.items() if fetched)


class _IdempotentProducer(Producer):
    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def _new_producer(self, transactional_id: str | None = None) -> aiokafka.AIOKafkaProducer:
        producer = super()._new_producer(transactional_id)
        _wait_for_brokers(producer.client, self.app)
        return producer


def _wait_for_brokers(client: Any, app: Any) -> None:
    """Make a client's first connection wait like the rest of a start: the broker may go away after it was looked at."""
    bootstrap = client.bootstrap

    async def connect() -> None:
        with translated("connecting"):
            await bootstrap()

    client.bootstrap = lambda: patiently(connect, cast(FaustApp, app).start_timeout_s)


class _Transport(Transport):
    Consumer = _ReadCommittedConsumer
    Producer = _IdempotentProducer


class _FetchTransport(_Transport):
    Consumer = _FetchConsumer


class FaustApp(faust.App):
    """A Faust app on our transport."""

    _has_joined = False
    # How long a broker that is away is waited for to begin with; then the start fails with RetryLater.
    start_timeout_s = 0.0
    # Records of a partition that were fetched, up to this offset, and are not done yet; the stage says so.
    behind: Callable[[TopicPartition, int | None], int] = staticmethod(lambda _place, _last_fetched: 0)
    # The topics that the stage reads.
    reads: frozenset[str] = frozenset()
    # How often partitions were taken up.
    assignments = 0

    @property
    def is_settled(self) -> bool:
        """Whether this member of the group has its partitions (perhaps none), with their state, and reads them."""
        return self._has_joined and not self.rebalancing

    def on_rebalance_end(self) -> None:
        """Faust's last step of taking partitions up, also when there are none."""
        super().on_rebalance_end()
        self._has_joined = True
        self.assignments += 1

    def _create_directories(self) -> None:
        """Faust's tables keep nothing on disk here; it would leave empty folders in the working directory."""

    def _new_transport(self) -> Any:
        takes_fetches = cast(Any, self.conf).ConsumerScheduler is WholeFetches
        return (_FetchTransport if takes_fetches else _Transport)(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return _Transport(self.conf.broker_producer, self)

    def pause(self, place: TopicPartition) -> None:
        """Take no more of a partition until `resume`."""
        self.consumer.on_buffer_full(TP(*place))

    def resume(self, place: TopicPartition) -> None:
        self.consumer.on_buffer_drop(TP(*place))

    def request_rejoin(self) -> None:
        """Make this member join its group again, which revokes and assigns its partitions anew."""
        cast(_ReadCommittedConsumer, self.consumer).request_rejoin()

    async def confirm_membership(self) -> bool:
        """Whether the group still knows this member with its assignment, as the broker says from now on.

        If so, what this worker owned when it asked was nobody else's until then.
        """
        with translated("confirming the membership of the group"):
            return await cast(_ReadCommittedConsumer, self.consumer).confirm_membership()

    def fetched(self) -> Mapping[TopicPartition, tuple[int, int | None]]:
        """Of each partition that this member has: the next offset to fetch, and that of the last record so far."""
        # The property would make one.
        consumer = cast(_ReadCommittedConsumer | None, self._consumer)
        if consumer is None:
            return {}
        return {
            place: (position, consumer.last_fetched.get(place))
            for place, position in consumer.positions().items()
            # Not a table's changelog, which comes with the partitions and is never read through Faust.
            if place.topic in self.reads
        }

    def has_read(self, place: TopicPartition, offset: int | None) -> bool:
        """Whether all below an offset is done, or all that the last fetch of the partition could have brought.

        Between a fetch and the stage's being told of it this may be true for a moment.
        """
        consumer = cast(_ReadCommittedConsumer | None, self._consumer)
        position, last_fetched = self.fetched().get(place, (None, None))
        if consumer is None or position is None or self.behind(place, last_fetched):
            return False
        wanted = consumer.readable_ends().get(place) if offset is None else offset
        return wanted is not None and position >= wanted

    def url_of(self, topic: str, partition: int) -> str | None:
        """The `canonical_url` of the member that has the partition, by the last assignment that this one has seen."""
        for url, topics in cast(Router, self.router).external_topics_metadata().items():
            if partition in topics.get(topic, ()):
                return str(url)
        return None


def new_app(app_id: str, kafka: KafkaSettings, partitions: int, **options: Any) -> FaustApp:
    """A Faust app that is not started; `app_id` is its consumer group."""
    return FaustApp(
        app_id,
        broker=[URL(f"kafka://{server.strip()}") for server in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        **{
            "autodiscover": False,
            "TableManager": tables_with(PatientRecovery),
            "origin": None,
            # The leader topic, the web server and the standby copies serve nobody here.
            "topic_disable_leader": True,
            "web_enabled": False,
            "table_standby_replicas": 0,
            "topic_partitions": partitions,
            "topic_replication_factor": kafka.replication_factor,
            # Topics are ours to declare and to check (streams/topics.py).
            "topic_allow_declare": False,
            "store": "memory://",
            # A killed worker's partitions stall for a session; Faust's default is a minute.
            "broker_session_timeout": kafka.session_timeout_s,
            "broker_heartbeat_interval": kafka.heartbeat_interval_s,
            "broker_request_timeout": kafka.request_timeout_s,
            "broker_max_poll_interval": MAX_POLL_INTERVAL_S,
            # A rebalance must not wait for what an agent is doing: nothing unfinished is ever committed.
            "stream_wait_empty": False,
            "stream_buffer_maxsize": STREAM_BUFFER_RECORDS,
            "consumer_max_fetch_size": MAX_FETCH_BYTES,
            "producer_max_request_size": MAX_REQUEST_BYTES,
            "consumer_auto_offset_reset": "earliest",
            **options,
        },
    )


def raw_topic(app: faust.App, name: str, partitions: int) -> faust.TopicT:
    """A topic whose keys and values Faust leaves alone, and whose offsets it never commits.

    It acknowledges what it cannot decode before anyone sees it, and what its streams skip in a rebalance.
    """
    return app.topic(
        name,
        acks=False,
        partitions=partitions,
        key_type=bytes,
        key_serializer="raw",
        value_type=bytes,
        value_serializer="raw",
    )


def _credentials(kafka: KafkaSettings) -> SASLCredentials | SSLCredentials | None:
    context = kafka.ssl_context()
    if kafka.security_protocol.startswith("SASL") and kafka.sasl_password is not None:
        return SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=SASLMechanism(kafka.sasl_mechanism),
            ssl_context=context,
        )
    return SSLCredentials(context=context) if context is not None else None
