"""Which records a replay reads, by the names that `kafka-consumer-groups --reset-offsets` has for them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cli.audit_range import duration, moment
from cli.scanning import TopicScanner
from schemas.errors import ConfigurationError
from storage.text import epoch_ms
from streams.topics import partition_for

_TOPIC: Final = re.compile(r"([^:]+)(?::(\d+(?:,\d+)*))?")
_BEGINNINGS: Final = "--to-earliest, --to-datetime, --by-duration or --to-offset"


@dataclass(frozen=True, slots=True)
class Bound:
    """A place in every partition: a time in Unix milliseconds, or an offset; the earliest, or the end, for neither."""

    time_ms: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class ReplayRange:
    """What is read: of which partitions (None for all), from where on, up to where, and whose."""

    topic: str
    partitions: frozenset[int] | None
    begin: Bound
    end: Bound
    project_id: str | None = None
    user_id: str | None = None

    @property
    def is_everybody(self) -> bool:
        return self.project_id is None and self.user_id is None

    def takes(self, project_id: str, user_id: str) -> bool:
        return self.project_id in (None, project_id) and self.user_id in (None, user_id)


@dataclass(frozen=True, slots=True)
class Offsets:
    """The first and the next offset of each partition that is read."""

    begin: Mapping[int, int]
    end: Mapping[int, int]

    def __len__(self) -> int:
        return sum(self.end[number] - self.begin[number] for number in self.end)


def topic_of(text: str, known: Mapping[str, str]) -> tuple[str, frozenset[int] | None]:
    """`TOPIC` or `TOPIC:0,1` as a full name and its partitions; `known` are the full names by those without a prefix.

    Raises ConfigurationError for another form, and for a topic that nothing can be replayed from.
    """
    match = _TOPIC.fullmatch(text)
    name, numbers = match.groups() if match is not None else (text, None)
    full = known.get(name, name)
    if match is None or full not in known.values():
        raise ConfigurationError(
            f"--topic must be {' or '.join(known)}, or one with partitions, as in chat-messages:0,1"
        )
    return full, None if numbers is None else frozenset(map(int, numbers.split(",")))


def beginning(
    to_earliest: bool, to_datetime: str | None, by_duration: str | None, to_offset: int | None, now: datetime
) -> Bound:
    """Where to begin; raises ConfigurationError unless it is said once, and for another form of it."""
    given = [to_earliest, to_datetime is not None, by_duration is not None, to_offset is not None]
    if sum(given) != 1:
        said = "say where to begin" if not any(given) else "say where to begin only once"
        raise ConfigurationError(f"{said}: {_BEGINNINGS}")
    if to_datetime is not None:
        return Bound(time_ms=epoch_ms(moment("--to-datetime", to_datetime)))
    if by_duration is not None:
        return Bound(time_ms=epoch_ms(now - duration(by_duration)))
    return Bound(offset=to_offset)


def ending(until_datetime: str | None, until_offset: int | None) -> Bound:
    """Before where to end; raises ConfigurationError where it is said twice."""
    if until_datetime is not None and until_offset is not None:
        raise ConfigurationError("--until-datetime and --until-offset both say where to end: leave one out")
    if until_datetime is not None:
        return Bound(time_ms=epoch_ms(moment("--until-datetime", until_datetime)))
    return Bound(offset=until_offset)


async def offsets_of(scanner: TopicScanner, wanted: ReplayRange) -> Offsets:
    """The range in the topic as it is now.

    Raises ConfigurationError if there is no such topic or partition, or if nothing lies in the range.
    """
    first, last = await scanner.bounds(wanted.topic)
    begin = await _at(scanner, wanted.topic, wanted.begin, first)
    end = await _at(scanner, wanted.topic, wanted.end, last)
    numbers = chosen_partitions(wanted, len(last))
    ends = {number: min(end[number], last[number]) for number in numbers}
    found = Offsets({number: min(max(begin[number], first[number]), ends[number]) for number in numbers}, ends)
    if not len(found):
        kept = ", ".join(f"{number}: {first[number]} to {last[number]}" for number in sorted(numbers))
        raise ConfigurationError(f"the range is empty: {wanted.topic} holds these offsets now: {kept}")
    return found


def chosen_partitions(wanted: ReplayRange, partitions: int) -> frozenset[int]:
    """Those that are read: of a single user only the one where all that counts of them lies."""
    named = wanted.partitions
    if named is not None and (unknown := named - set(range(partitions))):
        raise ConfigurationError(
            f"--topic: {wanted.topic} has no partition {min(unknown)}; they are 0 to {partitions - 1}"
        )
    if wanted.user_id is None:
        return frozenset(range(partitions)) if named is None else named
    own = partition_for(wanted.user_id.encode(), partitions)
    if named is not None and own not in named:
        raise ConfigurationError(f"--topic: {wanted.user_id} is on partition {own}, which is not named")
    return frozenset({own})


async def _at(scanner: TopicScanner, topic: str, bound: Bound, otherwise: Mapping[int, int]) -> Mapping[int, int]:
    if bound.time_ms is not None:
        return await scanner.at_time(topic, bound.time_ms)
    if bound.offset is not None:
        return dict.fromkeys(otherwise, bound.offset)
    return otherwise
