"""What a worker says of itself over HTTP: whether it turns, whether it does its work, and its metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from schemas.errors import ConfigurationError
from schemas.settings import KafkaSettings, WorkerSettings
from storage.probing import TIMEOUT_S, Reasons, Remembered
from streams.listeners import refusal_of
from streams.prometheus import CONTENT_TYPE, PrometheusMetrics

SHUTDOWN_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe is answered; `reasons` are by role or part, and hold neither secrets nor what users said."""

    is_well: bool
    reasons: Mapping[str, Sequence[str]]


class WorkerHealth:
    """The roles of a worker: not ready until each is watched and finds nothing wrong, not live once one has failed or
    while one of them is `stalled`."""

    def __init__(self, roles: Iterable[str], stalled: Callable[[], Mapping[str, str]] = dict) -> None:
        self._parts: dict[str, Reasons] = dict.fromkeys(roles, _starting)
        self._stalled = stalled
        self._failure: str | None = None
        self._is_stopping = False

    def watch(self, part: str, reasons: Reasons) -> None:
        """Ask for `reasons` of this role or part from now on."""
        self._parts[part] = reasons

    def fail(self, error: BaseException) -> None:
        """The worker will end for this error; its text may hold anything, so only its kind is told."""
        self._failure = self._failure or type(error).__name__

    def stop(self) -> None:
        self._is_stopping = True

    def live(self) -> Report:
        reasons = {role: [reason] for role, reason in self._stalled().items()}
        if self._failure is not None:
            reasons["worker"] = [self._failure]
        return Report(not reasons, reasons)

    async def ready(self) -> Report:
        found = await asyncio.gather(*(reasons() for reasons in self._parts.values()))
        reasons = {part: list(wrong) for part, wrong in zip(self._parts, found, strict=True) if wrong}
        if self._failure is not None:
            reasons["worker"] = [f"it ends after an unexpected {self._failure}"]
        elif self._is_stopping:
            reasons["worker"] = ["it is stopping"]
        return Report(not reasons, reasons)


async def nothing_wrong() -> Sequence[str]:
    """For a part that works once it has started."""
    return ()


def watch_state(is_well: Callable[[], bool], otherwise: str) -> Reasons:
    """One reason while something does not hold."""

    async def reasons() -> Sequence[str]:
        return () if is_well() else (otherwise,)

    return reasons


def watch_problems(problems: Callable[[], Mapping[str, str]], then: Reasons) -> Reasons:
    """The reasons of `then`, and those that somebody else keeps a list of."""

    async def reasons() -> Sequence[str]:
        return (*await then(), *problems().values())

    return reasons


def watch_broker(kafka: KafkaSettings) -> Reasons:
    """Whether a broker of `kafka.bootstrap_servers` lets us in, over a connection of its own: Faust's may wait."""

    async def ask() -> Sequence[str]:
        error = await refusal_of(kafka, TIMEOUT_S)
        return () if error is None else (f"no broker answers ({type(error).__name__})",)

    return Remembered(ask).reasons


@asynccontextmanager
async def serve_probes(
    settings: WorkerSettings, health: WorkerHealth, metrics: PrometheusMetrics
) -> AsyncIterator[None]:
    """GET /livez and /readyz (200, or 503 with the reasons) and /metrics, where `worker.health_port` is set.

    Raises ConfigurationError when the port cannot be had.
    """
    if settings.health_port is None:
        yield
        return
    runner = web.AppRunner(_application(health, metrics), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.health_host, settings.health_port).start()
        except OSError as error:
            raise ConfigurationError(
                f"worker.health_port {settings.health_port} cannot be listened on at {settings.health_host} "
                f"({type(error).__name__}): choose another, or another worker.health_host"
            ) from error
        yield
    finally:
        await runner.cleanup()


def _application(health: WorkerHealth, metrics: PrometheusMetrics) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return _answer("live", health.live())

    async def readyz(_: web.Request) -> web.Response:
        return _answer("ready", await health.ready())

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=await metrics.page(), headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", page)
    return application


def _answer(name: str, report: Report) -> web.Response:
    document = {name: report.is_well, "reasons": report.reasons}
    return web.json_response(document, status=200 if report.is_well else 503)


async def _starting() -> Sequence[str]:
    return ("it is starting",)
