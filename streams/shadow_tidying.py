"""Keeps of a shadow's windows only those that are not extracted yet: nobody reads the others again."""

import asyncio
from typing import Final

import structlog
from aiokafka.admin.records_to_delete import RecordsToDelete

from schemas.errors import ConfigurationError, RetryLater
from schemas.settings import KafkaSettings
from streams.clients import admin, translated
from streams.shadow_topics import ShadowTopics

EVERY_S: Final = 15.0

log = structlog.get_logger()


async def keep_windows_short(kafka: KafkaSettings, topics: ShadowTopics) -> None:
    """Delete what the shadow's extraction group has finished, again and again, until cancelled.

    Any number of processes may do so; one that the broker does not let leaves it to the topic's retention.
    """
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await delete_finished(kafka, topics)
        except (RetryLater, ConfigurationError) as error:
            log.warning("shadow.windows_not_deleted", reason=str(error))


async def delete_finished(kafka: KafkaSettings, topics: ShadowTopics) -> None:
    """Raises RetryLater while the broker is away."""
    async with admin(kafka) as client:
        with translated("deleting finished windows of a shadow"):
            committed = await client.list_consumer_group_offsets(topics.extraction_group)
            finished = {
                place: RecordsToDelete(at.offset)
                for place, at in committed.items()
                if place.topic == topics.extraction_windows and at.offset > 0
            }
            if finished:
                await client.delete_records(finished)
