"""How the agent is attached to its Faust app."""

from agents.dependencies import ExtractionDeps
from agents.extraction import register
from schemas.settings import BufferSettings, ExtractionSettings, KafkaSettings, StorageSettings, WorkerSettings
from storage.database import create_engine
from streams.faust_app import new_app
from tests.support.extracting import ScriptedExtractor


async def test_faust_is_told_to_commit_nothing_of_the_windows_by_itself() -> None:
    app = new_app("group", KafkaSettings(), 1)
    deps = ExtractionDeps(
        engine=create_engine(StorageSettings()),
        extractor=ScriptedExtractor(),
        extraction=ExtractionSettings(),
        buffer=BufferSettings(),
        worker=WorkerSettings(),
        fatal=lambda error: None,
    )
    register(app, "extraction-windows", 1, deps)
    (agent,) = app.agents.values()
    assert agent.channel.acks is False
