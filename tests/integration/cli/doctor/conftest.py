"""An installation in which doctor finds nothing, for each test to plant one fault in."""

import pytest

from schemas.settings import BufferSettings, KafkaSettings
from streams.topics import ensure_topics
from tests.support.command_line import CommandLine


@pytest.fixture
def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix, partitions=2)


@pytest.fixture
async def installed(shell: CommandLine, kafka: KafkaSettings) -> CommandLine:
    """With its topics and its tables; no worker runs."""
    await ensure_topics(kafka, BufferSettings())
    return shell
