"""What the exactly-once stages share: agents that hand every fetch to the owner of its partition."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import faust
from aiokafka import TopicPartition

from schemas.settings import KafkaSettings
from streams.assignment import owner_tables
from streams.faust_app import FaustApp, WholeFetches, new_app, raw_topic
from streams.ownership import PartitionOwners
from streams.raw_records import RawRecord

# What is taken of a fetch at a time; the loop does nothing else while they are handed over.
MAX_FETCHED_RECORDS: Final = 500


def create_owning_app(
    group: str,
    kafka: KafkaSettings,
    topics: Mapping[str, int],
    owners: PartitionOwners,
    on_fatal: Callable[[BaseException], None],
    **options: Any,
) -> FaustApp:
    """A Faust app, not started, with an agent for each topic; `topics` gives their partition counts."""
    app = new_app(
        group,
        kafka,
        max(topics.values()),
        **{
            "TableManager": owner_tables(owners, topics),
            "ConsumerScheduler": WholeFetches,
            "broker_max_poll_records": MAX_FETCHED_RECORDS,
            **options,
        },
    )
    owners.consumer = app
    app.behind = owners.behind
    app.reads = frozenset(topics)

    async def hand_over(stream: faust.StreamT[bytes]) -> None:
        try:
            # Never acknowledged through Faust: the offsets are part of our own transactions.
            async for event in cast(faust.Stream[bytes], stream).noack().events():
                message = event.message
                place = TopicPartition(message.topic, message.partition)
                owners.put(place, [RawRecord.of(record) for record in message.value], message.generation_id)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        # Faust would restart the agent at the next record and commit past this one.
        except BaseException as error:  # noqa: BLE001
            on_fatal(error)
            await asyncio.Event().wait()

    for topic, partitions in topics.items():
        app.agent(raw_topic(app, topic, partitions), name=topic)(hand_over)
    return app
