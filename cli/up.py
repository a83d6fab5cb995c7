"""The whole system on one machine: broker, database, worker; started side by side, stopped in order."""

import asyncio
import shlex
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from api.app import serve
from cli.addresses import explicit_addresses, with_addresses
from cli.console import note, out
from cli.gateway import TOKEN_FILE, at_place, open_place, published_url, url_of, with_root_token
from schemas.errors import ConfigurationError
from schemas.settings import Settings, WorkerSettings, load_settings
from streams.logs import configure_logging
from streams.shadow_running import RunningShadow
from streams.stopping import Parts
from streams.topics import Topics, ensure_topics
from streams.worker import migrate_database, run_worker


async def work(
    settings: Settings,
    roles: frozenset[str],
    stop: asyncio.Event,
    parts: Parts,
    shadow: RunningShadow | None = None,
) -> int:
    """A worker with its log; returns its exit code."""
    configure_logging(settings.worker)
    return await run_worker(settings, roles, stop, parts=parts, shadow=shadow)


async def up(
    config: Path | None, data_dir: Path, roles: frozenset[str], stop: asyncio.Event, *, with_gateway: bool = True
) -> int:
    """Run everything until `stop`, or until a part fails; returns the exit code."""
    configured = load_settings(config)
    configure_logging(configured.worker)
    with open_place(configured.api) if with_gateway else nullcontext() as place:
        async with embedded_system(configured, data_dir, quiet=False) as settings:
            if place is None:
                out().print(guide(settings, data_dir, None))
                return await _run(settings, roles, stop)
            settings = at_place(with_root_token(settings, data_dir), place)
            out().print(guide(settings, data_dir, url_of(settings.api)))
            with published_url(settings.api, data_dir):
                return await _run(settings, roles, stop, place)


async def _run(
    settings: Settings, roles: frozenset[str], stop: asyncio.Event, place: socket.socket | None = None
) -> int:
    """Worker and gateway, where they are wanted, until `stop` or until one of them ends."""
    stop_worker, stop_gateway = asyncio.Event(), asyncio.Event()
    worker = [asyncio.create_task(run_worker(settings, roles, stop_worker))] if roles else []
    gateway = [] if place is None else [asyncio.create_task(serve(settings, stop_gateway, listening=place))]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*worker, *gateway, stopped], return_when=asyncio.FIRST_COMPLETED)
        # First the gateway, for calls that wait in it need the worker.
        stop_gateway.set()
        await asyncio.gather(*gateway)
        stop_worker.set()
        return max(await asyncio.gather(*worker, *gateway), default=0)
    finally:
        parts = [stopped, *worker, *gateway]
        for part in parts:
            part.cancel()
        await asyncio.wait(parts)


@asynccontextmanager
async def embedded_system(configured: Settings, data_dir: Path, *, quiet: bool) -> AsyncIterator[Settings]:
    """Settings with the addresses of the parts that run while the block does: migrated, with all topics.

    A part that is configured elsewhere is used there and not started.
    """
    try:
        from embedded import embedded_services
    except ImportError as error:
        raise ConfigurationError(
            f"the embedded parts are not installed ({error.name}): pip install 'memostream[embedded]'"
        ) from error
    elsewhere = explicit_addresses(configured)
    if elsewhere and not quiet:
        note(f"configured elsewhere, so not started here: {', '.join(sorted(elsewhere))}")
    services = embedded_services(
        data_dir,
        kafka="kafka" not in elsewhere,
        postgres="storage" not in elsewhere,
        progress=(lambda _: None) if quiet else note,
    )
    async with services as addresses:
        settings = with_addresses(configured, addresses, data_dir)
        await asyncio.gather(migrate_database(settings), ensure_topics(settings.kafka, settings.buffer))
        yield settings


def guide(settings: Settings, data_dir: Path, gateway_url: str | None) -> str:
    """How to produce, watch and read from another shell."""
    servers = settings.kafka.bootstrap_servers
    topics = Topics(settings.kafka.topic_prefix)
    again = "" if data_dir == Path("memostream-data") else f" --data-dir {shlex.quote(str(data_dir))}"
    record = '{"user_id":"ann","blob_data":{"messages":[{"role":"user","content":"I moved to Oslo"}]}}'
    extractor = (
        "offline (rules; for a model: docs/first-hour.md, and a new --data-dir)"
        if settings.extraction.provider == "offline"
        else f"{settings.llm.model}"
    )
    over_http = "" if gateway_url is None else _over_http(gateway_url, data_dir, settings.worker)
    return f"""
memostream is up. Kafka: {servers} · data: {data_dir} · extractor: {extractor}

From another shell:
  memostream send{again} --user ann "I moved to Oslo"
  memostream watch{again}
  memostream flush{again} ann
  memostream profile{again} ann

With any Kafka client:
  echo 'ann:{record}' | \\
    kcat -P -b {servers} -t {topics.chat_messages} -K: -X topic.partitioner=murmur2_random
  kcat -C -b {servers} -t {topics.profile_updated} -X isolation.level=read_committed -o end
{over_http}
Ctrl-C stops everything; the data stays.
"""


def _over_http(gateway_url: str, data_dir: Path, worker: WorkerSettings) -> str:
    pages = [f"{gateway_url}/metrics"]
    if worker.health_port is not None:
        pages.append(f"http://{worker.health_host}:{worker.health_port}/metrics")
    token_file = shlex.quote(str(data_dir / TOKEN_FILE))
    return f"""
Over HTTP, as with Memobase (all of it: {gateway_url}/docs); the root token lies in {token_file}:
  curl -H "Authorization: Bearer $(cat {token_file})" \\
    {gateway_url}/api/v1/users/context/ann

Metrics for Prometheus: {", ".join(pages)}
"""
