"""The buffer agent: hands every record of `chat-messages` to the owner of its partition."""

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

import faust

from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import TokenCounter
from streams.buffer_table import buffer_tables
from streams.faust_app import FaustApp, new_app, raw_topic
from streams.ownership import PartitionOwners
from streams.raw_records import RawRecord
from streams.topics import TABLE_NAME, Topics


def create_buffer_app(
    kafka: KafkaSettings,
    buffer: BufferSettings,
    partitions: int,
    count_tokens: TokenCounter,
    on_fatal: Callable[[BaseException], None],
) -> FaustApp:
    """The Faust app of the buffer role, not started. Decides each record exactly once."""
    topics = Topics(kafka.topic_prefix)
    owners = PartitionOwners(kafka, buffer, partitions, count_tokens, on_fatal)
    tables = buffer_tables(owners, topics.chat_messages)
    app = new_app(topics.buffer_group, kafka, partitions, TableManager=tables)
    owners.request_rejoin = app.request_rejoin
    app.Table(TABLE_NAME, partitions=partitions, key_type=bytes, value_type=bytes)
    source = raw_topic(app, topics.chat_messages, partitions)

    @app.agent(source, name="buffer")
    async def buffer_agent(stream: faust.StreamT[bytes]) -> None:
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
