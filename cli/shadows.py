"""What commands on shadows share."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import NotFound
from storage.shadows import Shadow, read_shadow

Offsets = Mapping[int, int]


async def named_shadow(connection: AsyncConnection, topic_prefix: str, name: str) -> Shadow:
    """The shadow of that name; raises NotFound."""
    shadow = await read_shadow(connection, topic_prefix, name)
    if shadow is None:
        raise NotFound(f"there is no shadow {name} on these topics: `memostream replay status` lists those that are")
    return shadow


def unread(
    begin: Offsets | None, end: Offsets | None, first: Offsets, last: Offsets, committed: Offsets
) -> tuple[dict[int, int], dict[int, int]]:
    """What a group has still to read: from where, and up to before which offset, by partition.

    `begin` and `end` are the shadow's range, None for all of its own topic and for no end; the topic holds records from
    `first` on up to before `last`.
    """
    partitions = first if begin is None else [number for number in begin if number in first]
    starts, stops = {}, {}
    for number in partitions:
        low = first[number] if begin is None else max(begin[number], first[number])
        starts[number] = max(low, committed.get(number, 0))
        stops[number] = last[number] if end is None else min(last[number], end.get(number, 0))
    return starts, stops
