"""The whole system on one machine: broker, database, worker; started side by side, stopped in order."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cli.addresses import explicit_addresses, with_addresses
from cli.console import note, out
from schemas.errors import ConfigurationError
from schemas.settings import Settings, load_settings
from streams.logs import configure_logging
from streams.topics import Topics, ensure_topics
from streams.worker import migrate_database, run_worker


async def work(settings: Settings, roles: frozenset[str], stop: asyncio.Event) -> int:
    """A worker with its log; returns its exit code."""
    configure_logging(settings.worker)
    return await run_worker(settings, roles, stop)


async def up(config: Path | None, data_dir: Path, roles: frozenset[str], stop: asyncio.Event) -> int:
    """Run everything until `stop`, or until the worker fails; returns the exit code."""
    configured = load_settings(config)
    configure_logging(configured.worker)
    async with embedded_system(configured, data_dir, quiet=False) as settings:
        console = out()
        console.print(guide(settings, data_dir))
        if not roles:
            await stop.wait()
            return 0
        return await run_worker(settings, roles, stop)


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


def guide(settings: Settings, data_dir: Path) -> str:
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

Ctrl-C stops everything; the data stays.
"""
