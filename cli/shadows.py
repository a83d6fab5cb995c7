"""What commands on shadows share."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import NotFound
from storage.shadows import Shadow, read_shadow
from streams.shadow_topics import ShadowTopics, shadow_topics

Offsets = Mapping[int, int]


async def named_shadow(connection: AsyncConnection, topic_prefix: str, name: str) -> Shadow:
    """The shadow of that name; raises NotFound."""
    shadow = await read_shadow(connection, topic_prefix, name)
    if shadow is None:
        raise NotFound(f"there is no shadow {name} on these topics: `memostream replay status` lists those that are")
    return shadow


def topics_of(shadow: Shadow) -> ShadowTopics:
    """The topics and groups of a shadow."""
    return shadow_topics(shadow.topic_prefix, shadow.name, shadow.source)


def groups_of(shadow: Shadow) -> tuple[str, ...]:
    """Its consumer groups; one that is made from windows buffers nothing."""
    topics = topics_of(shadow)
    if shadow.source == "extraction-windows":
        return (topics.extraction_group,)
    return (topics.buffer_group, topics.extraction_group)
