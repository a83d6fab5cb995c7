"""The demo: our own example conversations through the real system, from nothing to profiles, in half a minute."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import orjson
from rich.rule import Rule
from rich.text import Text

from cli.addresses import overridden, quiet_libraries
from cli.console import out, printable
from cli.flushing import Flush, flush_all
from cli.sending import open_sources, send_lines
from cli.showing import connected, is_offline, latest_extractor, profile_view
from cli.up import embedded_system
from cli.watching import Filter, changes, describe_record
from schemas.errors import MemostreamError
from schemas.settings import KafkaSettings, Settings, StorageSettings, load_settings
from storage.outbox import backlog
from storage.reading import read_profile
from streams.logs import configure_logging
from streams.topics import Topics
from streams.worker import ROLES, run_worker

CONVERSATIONS: Final = Path(__file__).with_name("examples") / "conversations.jsonl"
PARTITIONS: Final = 4
FLUSH_TIMEOUT_S: Final = 60.0
PUBLISHED_TIMEOUT_S: Final = 15.0
QUIET_S: Final = 0.5
POLL_S: Final = 0.1
INTERRUPTED: Final = 130

MODEL_HINT: Final = """To let a model do it, point memostream at any endpoint that speaks OpenAI's API:
  export MEMOSTREAM_EXTRACTION__PROVIDER=openai
  export MEMOSTREAM_LLM__API_KEY=...
  export MEMOSTREAM_LLM__MODEL=gpt-4o-mini
and run this again. `memostream up` keeps it all running. A model on your own machine: docs/first-hour.md"""


async def demo(config: Path | None, data_dir: Path | None, stop: asyncio.Event) -> int:
    """Run the demo; returns its exit code, 130 if it was stopped."""
    settings = _demo_settings(load_settings(config))
    # Only errors: the worker's log would stand between the change events.
    configure_logging(settings.worker.model_copy(update={"log_level": "error"}))
    quiet_libraries()
    showing = asyncio.ensure_future(_in_folder(settings, data_dir))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([showing, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not showing.done():
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing
        return INTERRUPTED
    showing.result()
    return 0


def _demo_settings(configured: Settings) -> Settings:
    """As configured, but never on somebody's own broker or database, and without a download of a vocabulary."""
    settings = configured.model_copy(
        update={"kafka": KafkaSettings(partitions=PARTITIONS), "storage": StorageSettings()}
    )
    if "tokenizer" in settings.buffer.model_fields_set:
        return settings
    return overridden(settings, {"buffer": {"tokenizer": "estimate"}})


async def _in_folder(settings: Settings, data_dir: Path | None) -> None:
    if data_dir is not None:
        await _show(settings, data_dir)
        return
    with tempfile.TemporaryDirectory(prefix="memostream-demo-", ignore_cleanup_errors=True) as folder:
        await _show(settings, Path(folder))


async def _show(configured: Settings, data_dir: Path) -> None:
    console = out()
    started = time.monotonic()
    console.print(Text("memostream demo: chat messages in on Kafka, memory in Postgres, changes out on Kafka", "bold"))
    async with embedded_system(configured, data_dir, quiet=False) as settings, _worker(settings):
        console.print(Text(f"broker, database and worker are up ({time.monotonic() - started:.1f} s)", "dim"))
        async with _printed_changes(settings) as changes_printed:
            records = [orjson.loads(line) for line in CONVERSATIONS.read_bytes().splitlines()]
            users = sorted({record["user_id"] for record in records})
            console.print(Rule("change events, as they come", style="dim"))
            await send_lines(settings, open_sources([str(CONVERSATIONS)]), project_id=None, quiet=True)
            await flush_all(settings, Flush(timeout_s=FLUSH_TIMEOUT_S, quiet=True))
            await _all_published(settings, changes_printed)
        console.print(Rule("profiles, and the messages that each fact came from", style="dim"))
        offline = await _print_profiles(settings, users)
        count = f"{len(records)} records of {len(users)} users, {changes_printed.count} change events"
        console.print(Text(f"{count}, {time.monotonic() - started:.1f} s", "dim"))
        if offline:
            console.print()
            console.print(Text("These facts were extracted offline, by rules and without a model.", "bold yellow"))
            console.print(MODEL_HINT)


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[None]:
    """A worker on this loop; raises MemostreamError if it ends before the block does."""
    stop = asyncio.Event()
    block = asyncio.current_task()
    failed = False

    def ended(_: "asyncio.Task[int]") -> None:
        nonlocal failed
        if not stop.is_set() and block is not None:
            failed = True
            block.cancel()

    worker = asyncio.create_task(run_worker(settings, ROLES, stop))
    worker.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            worker.result()
            raise MemostreamError("the worker has failed; its error stands above") from None
        raise
    finally:
        stop.set()
        await asyncio.wait([worker])


class _Changes:
    """How many change events were printed, and when the last one was."""

    def __init__(self) -> None:
        self.count = 0
        self.last = time.monotonic()

    def printed(self) -> None:
        self.count += 1
        self.last = time.monotonic()


@asynccontextmanager
async def _printed_changes(settings: Settings) -> AsyncIterator[_Changes]:
    """Print change events while the block runs, beginning before it does."""
    counted = _Changes()
    watching = asyncio.Event()
    topics = Topics(settings.kafka.topic_prefix)
    console = out()

    async def show() -> None:
        found = changes(settings, Filter(), from_beginning=False, on_watching=watching.set)
        async with aclosing(found) as records:
            async for record in records:
                console.print(describe_record(record, topics))
                counted.printed()

    printer = asyncio.create_task(show())
    try:
        await asyncio.wait([printer, asyncio.ensure_future(watching.wait())], return_when=asyncio.FIRST_COMPLETED)
        yield counted
    finally:
        printer.cancel()
        with suppress(asyncio.CancelledError):
            await printer


async def _all_published(settings: Settings, printed: _Changes) -> None:
    """Wait until the outbox is empty and no more change events come."""
    deadline = time.monotonic() + PUBLISHED_TIMEOUT_S
    async with connected(settings.storage) as connection:
        while time.monotonic() < deadline:
            left, _ = await backlog(connection)
            await connection.rollback()
            if not left and time.monotonic() - printed.last > QUIET_S:
                return
            await asyncio.sleep(POLL_S)
    raise MemostreamError(f"the change events were not published within {PUBLISHED_TIMEOUT_S:g} s")


async def _print_profiles(settings: Settings, users: Sequence[str]) -> bool:
    """Print all profiles; returns whether any fact comes from the offline extractor."""
    console = out()
    offline = False
    async with connected(settings.storage) as connection:
        for user_id in users:
            profile = await read_profile(connection, "default", user_id)
            offline |= is_offline(await latest_extractor(connection, "default", user_id))
            console.print(Text(printable(user_id), "bold"))
            console.print(profile_view(profile))
    return offline
