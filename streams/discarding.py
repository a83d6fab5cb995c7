"""Removes topics and consumer groups that nobody needs any more."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from schemas.errors import ConfigurationError, Conflict, RetryLater
from streams.clients import translated
from streams.topics import LOOK_AGAIN_S, MAX_LOOKS, existing_names

NON_EMPTY_GROUP: Final = 68
_GROUP_NOT_FOUND: Final = 69


async def existing_groups(client: AIOKafkaAdminClient, names: Sequence[str]) -> list[str]:
    """Those of the groups that have members, or offsets that they have committed."""
    with translated("reading consumer groups"):
        return sorted({group[0] for group in await client.list_consumer_groups()}.intersection(names))


async def delete_groups(client: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    """Delete those of the groups that exist, with their offsets; raises Conflict for one that has members."""
    for name in await existing_groups(client, names):
        with translated(f"deleting the group {name}"):
            # aiokafka knows the request, and has no method for it.
            coordinator = await client.find_coordinator(name)
            response = await client._send_request(DeleteGroupsRequest([name]), coordinator)  # noqa: SLF001
        for _, code in response.results:
            if code == NON_EMPTY_GROUP:
                raise Conflict(f"the group {name} has members")
            if code not in (0, _GROUP_NOT_FOUND):
                error = for_code(code)
                if error.retriable:
                    raise RetryLater(f"Kafka: group {name} cannot be deleted now: {error.__name__}")
                raise ConfigurationError(f"group {name} cannot be deleted: {error.__name__}")


async def delete_topics(client: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    """Delete those of the topics that exist, and wait until the broker shows them no more."""
    with translated("deleting topics"):
        existing = await existing_names(client, names)
        response = await client.delete_topics(existing) if existing else None
    for name, code in () if response is None else (entry[:2] for entry in response.topic_error_codes):
        if code in (0, UnknownTopicOrPartitionError.errno):
            continue
        error = for_code(code)
        if error.retriable:
            raise RetryLater(f"Kafka: topic {name} cannot be deleted now: {error.__name__}")
        raise ConfigurationError(f"topic {name} cannot be deleted: {error.__name__}")
    for _ in range(MAX_LOOKS):
        with translated("reading topics"):
            if not await existing_names(client, names):
                return
        await asyncio.sleep(LOOK_AGAIN_S)
    raise RetryLater("Kafka: deleted topics are shown still; call again")
