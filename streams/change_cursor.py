"""Positions in the change topics, and the text that a reader of changes hands back to go on from them."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from schemas.change_feed import CHANGE_TOPICS, ChangeTopic, InvalidCursor, PositionGone

# A change topic, without its prefix, and a partition.
Place = tuple[ChangeTopic, int]
# The next offset of each partition.
Positions = dict[Place, int]

VERSION: Final = "v1"
MAX_CHARACTERS: Final = 32_768
MAX_OFFSET: Final = (1 << 63) - 1
_OFFSETS = r"(\d{1,19}(?:\.\d{1,19})*)"
_FORM: Final = re.compile("-".join([VERSION, *[_OFFSETS] * len(CHANGE_TOPICS)]), re.ASCII)


def format_cursor(positions: Mapping[Place, int]) -> str:
    """`v1-3.0.12-7.7.1-9.0.2`: next offsets by partition, topics in the order of CHANGE_TOPICS.

    It needs no escaping in a header or an address. The partitions must be numbered without a gap.
    """
    return "-".join([VERSION, *(".".join(map(str, _offsets(positions, topic))) for topic in CHANGE_TOPICS)])


def parse_cursor(text: str) -> Positions:
    """The opposite of `format_cursor`; raises InvalidCursor."""
    found = _FORM.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if found is None:
        raise InvalidCursor("not an id of this stream; send back the last one that you have read, as it was")
    positions = {
        (topic, partition): int(offset)
        for topic, offsets in zip(CHANGE_TOPICS, found.groups(), strict=True)
        for partition, offset in enumerate(offsets.split("."))
    }
    if any(offset > MAX_OFFSET for offset in positions.values()):
        raise InvalidCursor("not an id of this stream: an offset is too large")
    return positions


def checked_positions(asked: Mapping[Place, int], first: Mapping[Place, int], end: Mapping[Place, int]) -> Positions:
    """What was asked for, for exactly the partitions that there are now; raises PositionGone if something is missing.

    A partition that a cursor does not name was added after it, so all of its records are new.
    """
    if not asked.keys() <= first.keys():
        raise PositionGone("the change topics have fewer partitions than this id names: they were made anew")
    positions = {place: asked.get(place, 0) for place in first}
    for place, offset in positions.items():
        if offset > end[place]:
            raise PositionGone("the change topics end before this id: they were made anew")
        if offset < first[place]:
            raise PositionGone("changes after this id were removed, since the retention of their topic has passed")
    return positions


def covers(positions: Mapping[Place, int], floor: Mapping[Place, int]) -> bool:
    """Whether nothing lies between the positions and what is at hand from `floor` on."""
    return all(positions.get(place, 0) >= offset for place, offset in floor.items())


def merge_into(positions: Positions, further: Mapping[Place, int]) -> None:
    """Move positions forward to those of `further`; none moves back."""
    for place, offset in further.items():
        if offset > positions.get(place, 0):
            positions[place] = offset


def _offsets(positions: Mapping[Place, int], topic: ChangeTopic) -> Iterable[int]:
    partitions = sum(1 for place in positions if place[0] == topic)
    return (positions[topic, partition] for partition in range(partitions))
