"""A worker with a scripted model in a process of its own: `python -m benchmarks.worker_process`, options as JSON.

Of the options, `settings` is a configuration, `roles` a list, `delay_s` what each call to the model takes, `slow_s`
what it takes for a prompt that holds a text, and `shadow` the name of the one to work for, or null.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.scripted_model import ScriptedModel
from cli.replay_shadow import find_shadow
from cli.running import run_until_stopped
from schemas.errors import NotFound, RetryLater
from schemas.settings import Settings
from streams.clients import admin
from streams.inspection import read_groups
from streams.logs import configure_logging
from streams.shadow_running import RunningShadow
from streams.shadow_topics import ShadowTopics
from streams.topics import Topics
from streams.worker import run_worker

STOP_S: Final = 20.0
START_S: Final = 120.0
POLL_S: Final = 0.5


async def start_worker(
    configured: Mapping[str, Any],
    roles: Sequence[str],
    delay_s: float = 0.0,
    slow_s: Mapping[str, float] | None = None,
    shadow: str | None = None,
) -> asyncio.subprocess.Process:
    """A worker that is only beginning to start."""
    options = {
        "settings": configured,
        "roles": roles,
        "delay_s": delay_s,
        "slow_s": slow_s or {},
        "shadow": shadow,
    }
    command = (sys.executable, "-m", "benchmarks.worker_process", orjson.dumps(options).decode())
    return await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[1])


@contextlib.asynccontextmanager
async def worker_processes(
    count: int,
    configured: Mapping[str, Any],
    roles: Sequence[str],
    delay_s: float,
    slow_s: Mapping[str, float] | None = None,
    shadow: str | None = None,
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """So many workers, from when all of them have joined the extraction group; they are stopped at the end."""
    processes = [await start_worker(configured, roles, delay_s, slow_s, shadow) for _ in range(count)]
    settings = Settings.model_validate(configured)
    prefix = settings.kafka.topic_prefix
    topics = Topics(prefix) if shadow is None else ShadowTopics(prefix, shadow)
    try:
        async with asyncio.timeout(START_S):
            await _all_joined(settings, topics.extraction_group, count, processes)
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*(process.wait() for process in processes))
        except TimeoutError:
            for process in processes:
                if process.returncode is None:
                    process.kill()


async def _all_joined(
    settings: Settings, group: str, count: int, processes: Sequence[asyncio.subprocess.Process]
) -> None:
    async with admin(settings.kafka) as client:
        joined = 0
        while joined < count:
            # A broker that has just started is loading its groups.
            with contextlib.suppress(RetryLater):
                joined = len((await read_groups(client, [group])).get(group, ()))
            if any(process.returncode is not None for process in processes):
                raise RuntimeError("a worker has ended by itself")
            await asyncio.sleep(POLL_S)


async def _work(options: Mapping[str, Any], stop: asyncio.Event) -> int:
    settings = Settings.model_validate(options["settings"])
    roles = frozenset(options["roles"])
    model = ScriptedModel(options["delay_s"], options["slow_s"])
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # noqa: ASYNC230
        configure_logging(settings.worker, nowhere)
        working = None
        if options["shadow"] is not None:
            shadow = await find_shadow(settings, options["shadow"])
            if shadow is None:
                raise NotFound(f"there is no shadow {options['shadow']}")
            working = RunningShadow(shadow)
        return await run_worker(settings, roles, stop, model.client(), shadow=working)


if __name__ == "__main__":
    sys.exit(run_until_stopped(lambda stop: _work(orjson.loads(sys.argv[1]), stop)))
