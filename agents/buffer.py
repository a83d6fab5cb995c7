"""The buffer agent: decides every record of `chat-messages` once."""

from collections.abc import Callable
from functools import partial
from typing import Final

from yarl import URL

from agents.owning import create_owning_app
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import TokenCounter
from streams.buffer_ownership import BufferOwnerFactory
from streams.faust_app import FaustApp
from streams.owned_buffers import OwnedBuffers
from streams.ownership import PartitionOwners
from streams.shadow_buffer import ShadowBuffer
from streams.stage_metrics import StageMetrics
from streams.stopping import FAREWELL_S
from streams.topics import TABLE_NAME, Topics

# Of a worker that nobody asks; no host has such a name.
NOWHERE: Final = "http://nobody.invalid"


def create_buffer_app(
    kafka: KafkaSettings,
    buffer: BufferSettings,
    partitions: int,
    count_tokens: TokenCounter,
    on_fatal: Callable[[BaseException], None],
    url: str = NOWHERE,
    metrics: StageMetrics | None = None,
    shadow: ShadowBuffer | None = None,
) -> tuple[FaustApp, OwnedBuffers]:
    """The Faust app of the buffer role, not started, and the buffers that it will own.

    `url` is where this worker is asked about them; the members of the group tell each other. With `shadow` it buffers
    for that one, beside the live group.
    """
    topics = shadow.topics if shadow is not None else Topics(kafka.topic_prefix)
    factory = BufferOwnerFactory(kafka, buffer, partitions, count_tokens, on_fatal, metrics, shadow)
    owners = PartitionOwners(factory, FAREWELL_S)
    partition_counts = {topics.chat_messages: partitions}
    app = create_owning_app(topics.buffer_group, kafka, partition_counts, owners, on_fatal, canonical_url=URL(url))
    app.Table(TABLE_NAME, partitions=partitions, key_type=bytes, value_type=bytes)
    if shadow is not None:
        shadow.app = app
    url_of = partial(app.url_of, topics.chat_messages)
    buffers = OwnedBuffers(owners, topics.chat_messages, partitions, app.confirm_membership, url_of, url)
    return app, buffers
