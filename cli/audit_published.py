"""Whether the topics of changes tell what Postgres does. Pure, but for what a look remembers of the topics."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from cli.audit_findings import Sample
from schemas.changes import ProfileEntry, ProfileState
from storage.audit_published import ChangeKey, ChangeKind, UserChanges, UserState, change_key
from storage.user_listing import UserKey

StateVerdict = Literal["equal", "pending", "behind", "ahead", "unknown"]

SNAPSHOT_OP: Final = "r"


@dataclass(frozen=True, slots=True)
class Published:
    """A user's state as `profiles` has it, less its texts."""

    revision: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Expected:
    """A user's state as Postgres has it, less its texts; for the numbers see UserState."""

    revision: int
    state_revision: int
    digest: bytes
    is_pending: bool

    @classmethod
    def of(cls, state: UserState) -> "Expected":
        return cls(state.revision, state.state_revision, digest_of(state.entries), state.is_pending)


def digest_of(entries: Sequence[ProfileEntry]) -> bytes:
    """Of all that is published of a profile; 16 bytes, so that many profiles can be held."""
    document = [entry.model_dump(mode="json") for entry in entries]
    return hashlib.blake2b(orjson.dumps(document, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


NO_ENTRIES: Final = digest_of(())


def published(value: bytes) -> Published:
    """A value of `profiles`."""
    state = ProfileState.model_validate_json(value)
    entries = sorted(state.profile, key=lambda entry: (entry.topic, entry.sub_topic))
    return Published(state.revision, digest_of(entries))


def compare_state(there: Expected | None, state: Published | None) -> StateVerdict:
    """`there` is None for a user without a row, `state` for a tombstone or nothing.

    `behind` is wrong where the topic was read after Postgres, `ahead` where it was read before; `unknown` is a state
    of somebody who has no row.
    """
    if there is None:
        return "equal" if state is None else "unknown"
    if there.is_pending:
        return "pending"
    if state is None:
        return "equal" if there.digest == NO_ENTRIES and not there.state_revision else "behind"
    if state.revision > there.revision:
        return "ahead"
    is_newest = state.revision >= there.state_revision
    return "equal" if is_newest and state.digest == there.digest else "behind"


class StateLook:
    """Reads the records of `profiles`; `wanted` says whether a user is among those that are looked at."""

    def __init__(self, wanted: Callable[[UserKey], bool]) -> None:
        self._wanted = wanted
        self._seen: dict[UserKey, tuple[int, set[bytes]]] = {}
        self.newest: dict[UserKey, Published | None] = {}

    def read(self, place: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes]) -> Iterator[Sample]:
        """Note a state; yields where it lies behind a newer one, unless it is published a second time."""
        project_id, _, user_id = key.decode().partition("/")
        user = (project_id, user_id)
        if not self._wanted(user):
            return
        if value is None:
            self.newest[user] = None
            return
        state = self.newest[user] = published(value)
        identifier = UUID(headers["ce_id"].decode()).bytes
        last_revision, seen = self._seen.get(user, (0, set()))
        if state.revision < last_revision and identifier not in seen:
            yield Sample(f"profiles: revision {state.revision} lies behind {last_revision}", *user, place)
        seen.add(identifier)
        self._seen[user] = (max(last_revision, state.revision), seen)


@dataclass(slots=True)
class TopicUser:
    """What a topic of changes tells of a user: every change once, by its `ce_id`."""

    changes: dict[bytes, tuple[ChangeKey, int]] = field(default_factory=dict)
    last_revision: int = 0


class TopicLook:
    """Reads the records of the topics of changes; `wanted` says whether a user is among those that are looked at."""

    def __init__(self, wanted: Callable[[UserKey], bool]) -> None:
        self._wanted = wanted
        self.users: dict[ChangeKind, dict[UserKey, TopicUser]] = {"profile-updated": {}, "event-updated": {}}

    def told(self, user: UserKey) -> list[tuple[ChangeKey, int]]:
        """All that is published of a user, with the times."""
        return [change for users in self.users.values() if user in users for change in users[user].changes.values()]

    def read(self, kind: ChangeKind, place: str, value: bytes, headers: Mapping[str, bytes]) -> Iterator[Sample]:
        """Note a change; yields where it lies behind a newer one, unless it is published a second time."""
        document: dict[str, Any] = orjson.loads(value)
        user = (document["project_id"], document["user_id"])
        if not self._wanted(user) or document["op"] == SNAPSHOT_OP:
            return
        known = self.users[kind].setdefault(user, TopicUser())
        identifier = UUID(headers["ce_id"].decode()).bytes
        if identifier in known.changes:
            return
        key = change_key(kind, document)
        known.changes[identifier] = (key, int(document["ts_ms"]))
        if key.revision < known.last_revision:
            yield Sample(f"{kind}: revision {key.revision} lies behind {known.last_revision}", *user, place)
        known.last_revision = max(known.last_revision, key.revision)


def missing_changes(
    there: UserChanges, told: Collection[ChangeKey], is_wanted: Callable[[ChangeKey, datetime], bool]
) -> list[ChangeKey]:
    """The recorded changes that are neither on a topic nor in the outbox.

    `is_wanted` says whether one is in the range and still kept on its topic.
    """
    return [
        key
        for key, at in there.recorded
        if key.revision > there.imported_revision
        and key not in told
        and key not in there.pending
        and is_wanted(key, at)
    ]


def unknown_changes(
    there: UserChanges, published_changes: Iterable[tuple[ChangeKey, int]], is_in_range: Callable[[int], bool]
) -> Iterator[tuple[ChangeKey, str]]:
    """The published changes, read before Postgres was, that it does not have, or that are there twice.

    `is_in_range` says whether a time, Unix time in milliseconds, is.
    """
    known = Counter(key for key, _ in there.recorded)
    told: Counter[ChangeKey] = Counter()
    unknown_until = max(there.forgotten_revision, there.imported_revision)
    for key, ts_ms in published_changes:
        told[key] += 1
        if not is_in_range(ts_ms) or key.revision <= unknown_until or _is_edited_since(key, there):
            continue
        if key not in known:
            yield key, "is not in Postgres"
        elif told[key] > known[key]:
            yield key, "is published under two ids"


def _is_edited_since(key: ChangeKey, there: UserChanges) -> bool:
    """An event keeps the revision of its last edit only."""
    return key.kind == "event-updated" and key.op == "c" and key.changed_id in there.event_ids
