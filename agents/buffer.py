"""The buffer agent: decides every record of `chat-messages` once."""

from collections.abc import Callable

from agents.owning import create_owning_app
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import TokenCounter
from streams.buffer_ownership import BufferOwnerFactory
from streams.faust_app import FaustApp
from streams.ownership import PartitionOwners
from streams.topics import TABLE_NAME, Topics


def create_buffer_app(
    kafka: KafkaSettings,
    buffer: BufferSettings,
    partitions: int,
    count_tokens: TokenCounter,
    on_fatal: Callable[[BaseException], None],
) -> FaustApp:
    """The Faust app of the buffer role, not started."""
    topics = Topics(kafka.topic_prefix)
    factory = BufferOwnerFactory(kafka, buffer, partitions, count_tokens, on_fatal)
    owners = PartitionOwners(factory, kafka.session_timeout_s)
    app = create_owning_app(topics.buffer_group, kafka, {topics.chat_messages: partitions}, owners, on_fatal)
    app.Table(TABLE_NAME, partitions=partitions, key_type=bytes, value_type=bytes)
    return app
