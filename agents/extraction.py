"""The extraction agent: hands every record of `extraction-windows` to the intake, and commits what it says."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from faust.types import TP

from agents.dependencies import ExtractionDeps
from agents.intake import Intake
from streams.faust_app import FaustApp, raw_topic
from streams.tracker import Partition


def register(app: FaustApp, topic_name: str, partitions: int, deps: ExtractionDeps) -> Intake:
    """Attach the agent to an app that is not started; the app's own stop and rebalances are followed from then on."""

    async def commit_offsets(next_offsets: Mapping[Partition, int]) -> bool:
        # Faust's own commits count acknowledgements, which its streams give to records they skip in a rebalance.
        offsets = {TP(*partition): offset for partition, offset in next_offsets.items()}
        consumer: Any = app.consumer
        return bool(await consumer._commit(offsets))  # noqa: SLF001

    intake = Intake(deps, commit_offsets)
    topic = raw_topic(app, topic_name, partitions)

    @app.agent(topic, name="extraction")
    async def extraction_agent(stream: Any) -> None:
        await intake.run(_messages(stream))

    async def revoked(_app: Any, /, *partitions: Any, **_: Any) -> None:
        await intake.revoked([(lost.topic, lost.partition) for lost in partitions[0]])

    async def stopping(_app: Any, /, *_: Any, **__: Any) -> None:
        await intake.stop()

    app.behind = intake.behind
    app.reads = frozenset({topic_name})
    app.on_partitions_revoked.connect(revoked)
    app.on_before_shutdown.connect(stopping)
    return intake


async def _messages(stream: Any) -> AsyncIterator[Any]:
    async for event in stream.noack().events():
        yield event.message
