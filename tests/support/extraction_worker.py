"""A process with the extraction agent and a scripted extractor, to be killed by tests: `python -m` this module.

Takes one argument, JSON: bootstrap, prefix, partitions, database_url, stuck_on (a text whose extraction never ends),
pause_s (how long any other takes) and shutdown_timeout_s. Ends with 1 after an unexpected error, 0 on SIGTERM.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from agents.dependencies import ExtractionDeps
from agents.extraction import register
from schemas.conversation import Message
from schemas.settings import (
    BufferSettings,
    ExtractionSettings,
    KafkaSettings,
    StorageSettings,
    WorkerSettings,
)
from storage.database import create_engine
from streams.faust_app import new_app
from streams.topics import Topics
from tests.support.extracting import ScriptedExtractor

COMMIT_INTERVAL_S = 0.2
# In the working directory: the texts whose extraction has begun, a line each.
BEGUN = Path("begun.txt")


def note_begun(messages: Sequence[Message]) -> None:
    with BEGUN.open("a") as file:
        file.writelines(f"{message.content}\n" for message in messages)


async def run(options: dict[str, str | int | float]) -> int:
    kafka = KafkaSettings(
        bootstrap_servers=str(options["bootstrap"]),
        topic_prefix=str(options["prefix"]),
        session_timeout_s=3.0,
        heartbeat_interval_s=0.5,
    )
    stuck_on = options.get("stuck_on")
    pause_s = float(options.get("pause_s", 0.0))

    async def rule(messages: Sequence[Message]) -> None:
        note_begun(messages)
        stuck = any(message.content == stuck_on for message in messages)
        await asyncio.sleep(3600.0 if stuck else pause_s)

    ended = asyncio.Event()
    errors: list[BaseException] = []

    def fatal(error: BaseException) -> None:
        errors.append(error)
        ended.set()

    engine = create_engine(StorageSettings(database_url=SecretStr(str(options["database_url"]))))
    topics = Topics(kafka.topic_prefix)
    partitions = int(options["partitions"])
    app = new_app(topics.extraction_group, kafka, partitions, broker_commit_interval=COMMIT_INTERVAL_S)
    deps = ExtractionDeps(
        engine=engine,
        extractor=ScriptedExtractor(rule),
        extraction=ExtractionSettings(),
        buffer=BufferSettings(),
        worker=WorkerSettings(shutdown_timeout_s=float(options.get("shutdown_timeout_s", 10.0))),
        fatal=fatal,
        commit_interval_s=COMMIT_INTERVAL_S,
    )
    register(app, topics.extraction_windows, partitions, deps)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await app.start()
    await ended.wait()
    await app.stop()
    await engine.dispose()
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(run(json.loads(sys.argv[1]))))
