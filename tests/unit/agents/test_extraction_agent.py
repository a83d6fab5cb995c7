"""How the agent is attached to its Faust app."""

import asyncio

from agents.dependencies import ExtractionDeps
from agents.extraction import register
from agents.intake import Intake
from schemas.settings import BufferSettings, ExtractionSettings, KafkaSettings, StorageSettings, WorkerSettings
from storage.database import create_engine
from streams.faust_app import new_app
from tests.support.extracting import ScriptedExtractor


def new_deps() -> ExtractionDeps:
    return ExtractionDeps(
        engine=create_engine(StorageSettings()),
        extractor=ScriptedExtractor(),
        extraction=ExtractionSettings(),
        buffer=BufferSettings(),
        worker=WorkerSettings(shutdown_timeout_s=0.01),
        fatal=lambda error: None,
    )


async def test_faust_is_told_to_commit_nothing_of_the_windows_by_itself() -> None:
    app = new_app("group", KafkaSettings(), 1)
    register(app, "extraction-windows", 1, new_deps())
    (agent,) = app.agents.values()
    assert agent.channel.acks is False


async def test_a_broker_that_is_away_does_not_keep_the_worker_from_stopping() -> None:
    asked = asyncio.Event()

    async def commit_for_ever(_: object) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    intake = Intake(new_deps(), commit_for_ever)
    ticket = intake._tracker.opened(("extraction-windows", 0), 5)
    assert ticket is not None
    intake._tracker.finished(ticket)
    await asyncio.wait_for(intake.stop(), 5)
    assert asked.is_set()
