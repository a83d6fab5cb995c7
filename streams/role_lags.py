"""How far the roles of a worker are behind on the partitions that they have, asked at scrapes' pace."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import TopicPartition

from schemas.errors import MemostreamError
from schemas.metrics import Metrics
from schemas.settings import KafkaSettings
from storage.probing import TIMEOUT_S, Remembered
from streams.clients import consumer, translated
from streams.faust_app import FaustApp
from streams.liveness import Look

Lags = Mapping[TopicPartition, int]


class RoleLag:
    """The lag of one role, by partition. The end of a partition is asked of the broker, over a connection of its own:
    a consumer that does not fetch any more would not know that it is behind."""

    def __init__(self, kafka: KafkaSettings, app: FaustApp) -> None:
        self._kafka = kafka
        self._app = app
        self._ends: Mapping[TopicPartition, int] | None = {}
        self._remembered = Remembered(self._ask)

    async def by_partition(self) -> Lags | None:
        """Offsets that are not done, of each partition that this worker has; None while the broker does not answer."""
        await self._remembered.reasons()
        if self._ends is None:
            return None
        return {
            place: max(0, self._ends.get(place, position) - position) + self._app.behind(place, last_fetched)
            for place, (position, last_fetched) in self._app.fetched().items()
        }

    async def look(self, moved: Callable[[], int], waits_for: Callable[[], Awaitable[str | None]]) -> Look:
        """For the watch of progress. A role that gets no partitions to read has work, too."""
        lags = await self.by_partition()
        lag = None if lags is None else sum(lags.values()) + (not self._app.is_settled)
        return Look(lag, moved(), await waits_for())

    async def _ask(self) -> Sequence[str]:
        places = list(self._app.fetched())
        self._ends = {}
        try:
            # Also without partitions: whether the broker is there matters, for without it none come.
            async with asyncio.timeout(TIMEOUT_S), consumer(self._kafka) as reader:
                with translated("reading end offsets"):
                    self._ends = await reader.end_offsets(places) if places else {}
        except (MemostreamError, TimeoutError):
            self._ends = None
        return ()


class LagGauges:
    """Asked before each page of metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._roles: dict[str, tuple[FaustApp, RoleLag]] = {}
        self._assignments: dict[str, int] = {}

    def watch(self, role: str, app: FaustApp, lag: RoleLag) -> None:
        """Show this role from now on."""
        self._roles[role] = (app, lag)

    async def show(self) -> None:
        """What cannot be known now is not shown."""
        found: dict[tuple[str, ...], float] = {}
        # A copy, for a role may begin meanwhile.
        for role, (app, lag) in list(self._roles.items()):
            for place, behind in (await lag.by_partition() or {}).items():
                found[role, place.topic, str(place.partition)] = behind
            before = self._assignments.get(role, 0)
            self._assignments[role] = app.assignments
            self._metrics.add("memostream_rebalances_total", app.assignments - before, role=role)
        self._metrics.replace("memostream_consumer_lag_records", found)
        self._metrics.replace(
            "memostream_partitions", {(role,): len(app.fetched()) for role, (app, _) in self._roles.items()}
        )
