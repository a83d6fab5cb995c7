"""What a worker shows of itself: metrics, spans, how far each role is behind, and which role stands still."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import ConfigurationError, MemostreamError
from schemas.settings import Settings, WorkerSettings
from schemas.tracing import NO_TRACER, Tracer
from storage.backlogs import BacklogGauges
from storage.probing import Reasons
from streams.buffer_depth import BufferDepth
from streams.faust_app import FaustApp
from streams.liveness import Look, ProgressWatch
from streams.loop_lag import LoopLag
from streams.owned_buffers import OwnedBuffers
from streams.prometheus import PrometheusMetrics
from streams.relay import Relay
from streams.role_lags import LagGauges, RoleLag
from streams.stage_metrics import Stage, StageMetrics


class Observer:
    """One for each worker. Roles are shown once they are given here."""

    def __init__(self, settings: Settings, tracer: Tracer) -> None:
        self.metrics = PrometheusMetrics()
        self.tracer = tracer
        self.progress = ProgressWatch(self.metrics, settings.worker.stalled_after_s)
        self.loop_lag = LoopLag(self.metrics)
        self._kafka = settings.kafka
        self._lags = LagGauges(self.metrics)
        for source in (self.loop_lag.show, self._lags.show, self.progress.show):
            self.metrics.scraped_from(source)

    def stage(self, name: Stage) -> StageMetrics:
        """For a stage that writes Kafka in transactions."""
        return StageMetrics(self.metrics, name, tracer=self.tracer)

    def see_database(self, engine: AsyncEngine) -> None:
        self.metrics.scraped_from(BacklogGauges(engine, self.metrics).show)

    def see_buffers(self, buffers: OwnedBuffers) -> None:
        self.metrics.scraped_from(BufferDepth(buffers.heads, self.metrics).show)

    def see_stage(self, role: str, app: FaustApp, stage: StageMetrics) -> None:
        """A stage that needs nothing but the broker, without which its lag is not known."""
        self._see_reader(role, app, lambda: stage.moved, _nothing)

    def see_extraction(
        self,
        app: FaustApp,
        *,
        pending: Callable[[], int],
        finished: Callable[[], int],
        is_waiting: Callable[[], bool],
        database: Reasons,
    ) -> None:
        """It stands still rightly while a user waits for a model, a budget or Postgres."""

        async def waits_for() -> str | None:
            if is_waiting():
                return "a model, a budget or Postgres"
            return next(iter(await database()), None)

        async def show() -> None:
            self.metrics.replace("memostream_extraction_open_windows", {(): pending()})

        self.metrics.scraped_from(show)
        self._see_reader("extraction", app, finished, waits_for)

    def see_relay(self, relay: Relay, stage: StageMetrics, broker: Reasons) -> None:
        """It stands still rightly while the broker is away; without Postgres nobody knows what it has to do."""

        async def look() -> Look:
            try:
                lag: int | None = int(await relay.has_rows())
            except MemostreamError:
                lag = None
            return Look(lag, stage.moved, next(iter(await broker()), None))

        async def show() -> None:
            self.metrics.replace("memostream_relay_shards", {(): len(relay.shards)})

        self.metrics.scraped_from(show)
        self.progress.watch("relay", look)

    def _see_reader(
        self, role: str, app: FaustApp, moved: Callable[[], int], waits_for: Callable[[], Awaitable[str | None]]
    ) -> None:
        lag = RoleLag(self._kafka, app)

        async def look() -> Look:
            return await lag.look(moved, waits_for)

        self._lags.watch(role, app, lag)
        self.progress.watch(role, look)


def create_tracer(settings: WorkerSettings, instance: str) -> Tracer:
    """The tracer of `worker.traces`; opens no connection. Raises ConfigurationError where the SDK is missing."""
    if not settings.traces:
        return NO_TRACER
    # The import takes a tenth of a second, and needs an extra.
    try:
        from streams.opentelemetry import otlp_tracer
    except ImportError as error:
        raise ConfigurationError(
            f"worker.traces: true needs what is not installed ({error.name}): pip install 'memostream[tracing]', "
            "or set it to false"
        ) from error
    return otlp_tracer(instance)


async def _nothing() -> str | None:
    return None
