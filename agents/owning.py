"""What the exactly-once stages share: agents that hand every record to the owner of its partition."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import faust

from schemas.settings import KafkaSettings
from streams.assignment import owner_tables
from streams.faust_app import FaustApp, new_app, raw_topic
from streams.ownership import PartitionOwners
from streams.raw_records import RawRecord


def create_owning_app(
    group: str,
    kafka: KafkaSettings,
    topics: Mapping[str, int],
    owners: PartitionOwners,
    on_fatal: Callable[[BaseException], None],
    **options: Any,
) -> FaustApp:
    """A Faust app, not started, with an agent for each topic; `topics` gives their partition counts."""
    app = new_app(group, kafka, max(topics.values()), TableManager=owner_tables(owners, topics), **options)
    owners.request_rejoin = app.request_rejoin

    async def hand_over(stream: faust.StreamT[bytes]) -> None:
        try:
            # Never acknowledged through Faust: the offsets are part of our own transactions.
            async for event in cast(faust.Stream[bytes], stream).noack().events():
                message = event.message
                await owners.put(_raw(message), message.generation_id)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        # Faust would restart the agent at the next record and commit past this one.
        except BaseException as error:  # noqa: BLE001
            on_fatal(error)
            await asyncio.Event().wait()

    for topic, partitions in topics.items():
        app.agent(raw_topic(app, topic, partitions), name=topic)(hand_over)
    return app


def _raw(message: faust.types.Message) -> RawRecord:
    headers = message.headers or ()
    items = headers.items() if isinstance(headers, Mapping) else headers
    return RawRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round(message.timestamp * 1000),
        key=message.key,
        value=message.value,
        headers=tuple(items),
    )
