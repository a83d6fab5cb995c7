"""The records of a run, drawn from its seed, and what must become of each. Pure."""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import orjson

from streams.topics import partition_for

Expected = Literal["applied", "parked", "aborted", "duplicate"]

HOT_USER: Final = "u-hot"
# A newer statement replaces an older one in these slots, so the newest applied record decides what they hold.
SLOTS: Final = (
    ("work", "company"),
    ("work", "title"),
    ("contact_info", "city"),
    ("contact_info", "country"),
    ("basic_info", "age"),
    ("demographics", "household_income"),
)
WORDS: Final = tuple(
    "the sea was calm and grey when we walked along the harbour to look for an early boat".split()  # noqa: SIM905
)
# Of the scripted model: content that it refuses, and content of which it makes nothing that can be read.
REFUSED: Final = "zzrefused"
GARBLED: Final = "zzgarbled"
MIB: Final = 1 << 20
TOO_LARGE: Final = MIB + MIB // 8
DUPLICATE_SHARE: Final = 0.2
STRAY_DUPLICATE_SHARE: Final = 0.005
CLOCK_JUMP_SHARE: Final = 0.1
POISON_SHARE: Final = 0.04
HOT_SHARE: Final = 0.5
POISON_CONTENTS: Final = 3
ABORTED_GROUPS: Final = 3
ABORTED_GROUP: Final = 40
# How far behind its original a duplicate comes.
DUPLICATE_DISTANCE: Final = 60


@dataclass(frozen=True, slots=True)
class Planned:
    """A record to be sent, and what must become of it. `blob_id` is that in its value, `tag` is of this record alone.

    `sent_ms` is the record's own timestamp, None for the time of sending. `fact` is (topic, sub-topic, memo, time).
    """

    tag: str
    user_id: str
    blob_id: str
    value: bytes
    key: bytes | None
    partition: int
    expected: Expected = "applied"
    reason: str | None = None
    timestamp_ms: int | None = None
    fact: tuple[str, str, str, datetime] | None = None

    @property
    def is_unreadable(self) -> bool:
        """Whether nobody can tell the id in it."""
        return self.reason in ("invalid-json", "invalid-utf8")

    def is_at_home(self, partitions: int) -> bool:
        """Whether it is where, and as, the user's records belong: only these are in an order."""
        key = self.user_id.encode()
        return self.key == key and self.partition == partition_for(key, partitions)


class Load:
    """Draws chunks of records; the numbers in their ids go on from chunk to chunk."""

    def __init__(self, random_: random.Random, users: int, partitions: int, started_at: datetime) -> None:
        self._random = random_
        self._users = users
        self._partitions = partitions
        self._started_at = started_at
        self._number = 0

    def chunk(self, size: int, twists: Collection[str]) -> list[list[Planned]]:
        """`size` records, duplicates and all, in groups to be sent as they stand; a group of aborted ones is whole."""
        records: list[Planned] = []
        aborted = min(ABORTED_GROUPS * ABORTED_GROUP, size // 4) if "aborted-transactions" in twists else 0
        large = self._large() if "large-records" in twists else []
        contents = self._poison_contents() if "poison-content" in twists else []
        wanted = max(0, size - aborted - len(large) - len(contents))
        share = DUPLICATE_SHARE if "duplicates" in twists else STRAY_DUPLICATE_SHARE
        again = int(wanted * share)
        for _ in range(wanted - again):
            hot = "hot-user" in twists and self._random.random() < HOT_SHARE
            user_id = HOT_USER if hot else self._user()
            record = self._plain(user_id)
            if "clock-jumps" in twists and self._random.random() < CLOCK_JUMP_SHARE:
                record = self._jumped(record)
            records.append(record)
            if "poison-records" in twists and self._random.random() < POISON_SHARE:
                records[-1] = self._poison(records)
        for extra in (*large, *contents):
            records.insert(self._random.randrange(len(records) + 1), extra)
        for _ in range(again):
            self._repeat_one(records)
        groups = [records]
        for _ in range(-(-aborted // ABORTED_GROUP)):
            group = [replace(self._plain(self._user()), expected="aborted", fact=None) for _ in range(ABORTED_GROUP)]
            longest = max(groups, key=len)
            cut = self._random.randrange(len(longest) + 1)
            at = groups.index(longest)
            groups[at : at + 1] = [longest[:cut], group, longest[cut:]]
        return [group for group in groups if group]

    def _repeat_one(self, records: list[Planned]) -> None:
        while True:
            place = self._random.randrange(len(records))
            if records[place].expected == "applied" and len(records[place].value) < MIB // 2:
                break
        copy = replace(records[place], tag=self._tag(), expected="duplicate")
        records.insert(place + 1 + self._random.randrange(DUPLICATE_DISTANCE), copy)

    def _user(self) -> str:
        return f"u{self._random.randrange(self._users)}"

    def _tag(self) -> str:
        self._number += 1
        return f"r{self._number}"

    def _plain(self, user_id: str, text: str | None = None, fact: bool = True) -> Planned:
        """A chat of one message with a fact, and sometimes an event."""
        tag = self._tag()
        at = self._started_at + timedelta(milliseconds=self._number)
        topic, sub_topic = self._random.choice(SLOTS)
        memo = f"value of {tag}"
        words = " ".join(self._random.choices(WORDS, k=12))
        messages = [{"role": "user", "content": text or words}]
        if fact:
            messages.append({"role": "user", "content": f"fact {topic}/{sub_topic}: {memo}"})
        if fact and self._random.random() < 0.05:
            messages.append({"role": "user", "content": f"event: walk {tag}"})
        document = {
            "id": f"b{tag}",
            "user_id": user_id,
            "created_at": at.isoformat(),
            "blob_data": {"messages": messages},
        }
        key = user_id.encode()
        return Planned(
            tag,
            user_id,
            f"b{tag}",
            orjson.dumps(document),
            key,
            partition_for(key, self._partitions),
            fact=(topic, sub_topic, memo, at) if fact else None,
        )

    def _jumped(self, record: Planned) -> Planned:
        """What it says of a slot is left out: whose clock jumps decides by luck what is newest."""
        record = self._plain(record.user_id, fact=False)
        now = datetime.now(UTC)
        jumps: list[Callable[[], Planned]] = [
            lambda: _at(record, created_at=now - timedelta(days=400)),
            lambda: _at(record, created_at=now + timedelta(days=365)),
            lambda: _at(record, timestamp=now - timedelta(days=5)),
            # A broker refuses what is more than an hour ahead.
            lambda: _at(record, timestamp=now + timedelta(minutes=45)),
        ]
        return self._random.choice(jumps)()

    def _large(self) -> list[Planned]:
        """Two that just fit, to be cut into pieces, and one that does not."""
        fitting = []
        for _ in range(2):
            record = self._plain(self._user(), self._text_of(MIB - 4096), fact=False)
            fitting.append(record)
        too_large = self._plain(self._user(), self._text_of(TOO_LARGE), fact=False)
        return [*fitting, replace(too_large, expected="parked", reason="too-large")]

    def _text_of(self, size_bytes: int) -> str:
        sentence = " ".join(self._random.choices(WORDS, k=40)) + ". "
        return (sentence * (size_bytes // len(sentence) + 1))[:size_bytes].strip()

    def _poison_contents(self) -> list[Planned]:
        """Content that no model takes, each of another user."""
        users = self._random.sample(range(self._users), k=POISON_CONTENTS)
        marks = [self._random.choice((REFUSED, GARBLED)) for _ in users]
        return [
            replace(
                self._plain(f"u{user}", f"please keep {mark} in mind", fact=False),
                expected="parked",
                reason="content-rejected",
            )
            for user, mark in zip(users, marks, strict=True)
        ]

    def _poison(self, records: Sequence[Planned]) -> Planned:
        record = records[-1]
        document = orjson.loads(record.value)
        others = [number for number in range(self._partitions) if number != record.partition]
        earlier = self._earlier(records[:-1], record)
        ways: list[Callable[[], Planned]] = [
            lambda: _broken(record, record.value[:-2], "invalid-json"),
            lambda: _broken(record, b'{"user_id": "\xff' + record.tag.encode() + b'"}', "invalid-utf8"),
            lambda: _broken(record, orjson.dumps({**document, "v": 99}), "newer-version"),
            lambda: _broken(record, orjson.dumps({**document, "blob_type": "dream"}), "unknown-blob-type"),
            lambda: _broken(record, orjson.dumps({**document, "blob_data": {}}), "invalid-record"),
            lambda: replace(record, partition=self._random.choice(others)),
            lambda: replace(record, key=None),
            lambda: replace(record, key=b"somebody-else"),
            *([lambda: self._conflict(record, earlier)] if earlier is not None else []),
        ]
        return self._random.choice(ways)()

    def _earlier(self, records: Sequence[Planned], of: Planned) -> Planned | None:
        """An earlier record of this user that will come before whatever is sent next to its partition."""
        same = [
            one
            for one in records[-4 * self._users :]
            if one.user_id == of.user_id and one.expected == "applied" and one.key == of.key and one.fact is not None
            if one.partition == of.partition
        ]
        return same[0] if same else None

    def _conflict(self, record: Planned, earlier: Planned) -> Planned:
        document: dict[str, Any] = {**orjson.loads(record.value), "id": earlier.blob_id}
        return replace(
            record,
            blob_id=earlier.blob_id,
            value=orjson.dumps(document),
            expected="parked",
            reason="id-conflict",
            fact=None,
        )


def _broken(record: Planned, value: bytes, reason: str) -> Planned:
    return replace(record, value=value, expected="parked", reason=reason, fact=None)


def _at(record: Planned, created_at: datetime | None = None, timestamp: datetime | None = None) -> Planned:
    if created_at is not None:
        document = {**orjson.loads(record.value), "created_at": created_at.isoformat()}
        record = replace(record, value=orjson.dumps(document))
    if timestamp is not None:
        record = replace(record, timestamp_ms=int(timestamp.timestamp() * 1000))
    return record
