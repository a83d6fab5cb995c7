"""Finds what Kafka holds of a range and no stage does: messages, windows, and forgets that a restored database lost."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from cli.audit import DecodedRecord, account
from cli.audit_checks import Sources
from cli.identifiers import named
from cli.replay_range import Offsets, ReplayRange
from schemas.errors import NotFound
from schemas.windows import Position, Unit, Window, WindowCommand, decode_window
from storage.auditing import cut_offs, units_of_blobs
from storage.holding import all_held
from storage.ledger import ledger_id_of
from storage.units import ForgetCutOff, RecordedUnit, UnitBook, UnitOutcome

FORGET = "forget-user"
# Of a window, what any of its units is, in this order.
ORDER: Sequence[UnitOutcome] = ("new", "parked", "applied", "erased", "conflict")

UserKey = tuple[str, str]
BlobKey = tuple[str, str, str]
Place = tuple[int, int]


@dataclass(slots=True)
class LostForgets:
    """Forgets in the log that the database does not know. They come again, and what their users said later does, too,
    for they will take that away.
    """

    by_user: dict[UserKey, ForgetCutOff] = field(default_factory=dict)

    def note(self, user: UserKey, sent: Position, known: ForgetCutOff | None) -> bool:
        """Take a forget into account; False for one that is known."""
        forgotten_at = datetime.fromtimestamp(sent.timestamp_ms / 1000, UTC)
        if known is not None and known.forgotten_at >= forgotten_at:
            return False
        self.by_user[user] = ForgetCutOff(forgotten_at, {(sent.topic, sent.partition): sent.offset})
        return True

    def covers(self, user: UserKey, sent: Position) -> bool:
        """Whether the user will be forgotten with this."""
        cut_off = self.by_user.get(user)
        return cut_off is not None and cut_off.covers(sent)

    def follows(self, user: UserKey, sent: Position) -> bool:
        """Whether one comes before this, so that it must come again."""
        return user in self.by_user and not self.covers(user, sent)


@dataclass(slots=True)
class Found:
    """What has become of the records, and the places of those that are to be sent, as they are found."""

    counts: Counter[str] = field(default_factory=Counter)
    places: set[Place] = field(default_factory=set)
    forgets: LostForgets = field(default_factory=LostForgets)


async def find_messages(sources: Sources, wanted: ReplayRange, offsets: Offsets, *, quiet: bool) -> Found:
    """Of `chat-messages`: what the audit calls missing."""
    found = Found()

    async def observe(connection: AsyncConnection, records: Sequence[DecodedRecord]) -> None:
        known = await _known_forgets(connection, {_user(item) for item in records if item[1].command == FORGET})
        for item in records:
            seen, decoded = item
            user, sent = _user(item), seen.origin or seen.position
            if decoded.command == FORGET:
                if found.forgets.note(user, sent, known.get(user)):
                    found.places.add(seen.place)
            elif decoded.facts is not None and found.forgets.follows(user, sent):
                found.places.add(seen.place)

    takes = None if wanted.is_everybody else wanted.takes
    tally = await account(sources, offsets.begin, offsets.end, quiet=quiet, takes=takes, observe=observe)
    found.counts.update(tally.counts)
    found.places.update(tally.missing)
    return found


async def find_windows(sources: Sources, wanted: ReplayRange, offsets: Offsets) -> Found:
    """Of `extraction-windows`: those with a unit that no row knows, and that are not held."""
    found = Found()
    topics = sources.topics
    committed = await sources.scanner.committed(topics.extraction_group, topics.extraction_windows)
    async with sources.engine.connect() as connection:
        held = {ledger_id_of(one.record) async for one in all_held(connection)}
        await connection.rollback()
        async for records in sources.scanner.scan(topics.extraction_windows, offsets.begin, offsets.end):
            windows: list[tuple[Place, Window | WindowCommand]] = []
            for record in records:
                place = (record.partition, record.offset)
                window = decode_window(record.value)
                if record.offset >= committed.get(record.partition, 0):
                    found.counts["extracting"] += 1
                elif ledger_id_of(window) in held:
                    found.counts["held"] += 1
                elif wanted.takes(window.project_id, window.user_id):
                    windows.append((place, window))
            await _judge(connection, windows, found)
            await connection.rollback()
    return found


async def _judge(
    connection: AsyncConnection, windows: Sequence[tuple[Place, Window | WindowCommand]], found: Found
) -> None:
    blobs = {
        (window.project_id, window.user_id, unit.blob_id)
        for _, window in windows
        if isinstance(window, Window)
        for unit in window.units
    }
    units = await units_of_blobs(connection, blobs) if blobs else {}
    known = await cut_offs(connection, {(window.project_id, window.user_id) for _, window in windows})
    for place, window in windows:
        user = (window.project_id, window.user_id)
        if isinstance(window, WindowCommand):
            found.counts["command"] += 1
            sent = window.origin or window.position
            if window.command.command == FORGET and found.forgets.note(user, sent, known.get(user)):
                found.places.add(place)
            continue
        outcome = outcome_of_window(window, units, known.get(user), found.forgets)
        if outcome == "new":
            found.places.add(place)
        else:
            found.counts[outcome] += 1


def check_found(found: Found, wanted: ReplayRange) -> None:
    """Raises NotFound where the range holds nothing at all of the user or the project that it is limited to."""
    if not (wanted.is_everybody or found.counts.total() or found.places):
        raise nothing_of(wanted)


def nothing_of(wanted: ReplayRange) -> NotFound:
    """What to say of a range that holds nothing of whom it is limited to."""
    return NotFound(
        f"the range holds nothing of {named(wanted.project_id, wanted.user_id)}: check the ids, or begin earlier"
    )


def outcome_of_window(
    window: Window,
    recorded: Mapping[BlobKey, Collection[RecordedUnit]],
    cut_off: ForgetCutOff | None,
    forgets: LostForgets,
) -> UnitOutcome:
    """`new` where any unit has to be extracted, else what has become of them."""
    user = (window.project_id, window.user_id)

    def outcome(unit: Unit) -> UnitOutcome:
        if forgets.covers(user, unit.first_position):
            return "erased"
        rows = tuple(recorded.get((*user, unit.blob_id), ()))
        if forgets.follows(user, unit.first_position):
            return "new"
        return UnitBook({unit.blob_id: rows}, cut_off).outcome(unit)

    return min((outcome(unit) for unit in window.units), key=ORDER.index, default="applied")


async def _known_forgets(connection: AsyncConnection, users: Collection[UserKey]) -> Mapping[UserKey, ForgetCutOff]:
    if not users:
        return {}
    known = await cut_offs(connection, users)
    await connection.rollback()
    return known


def _user(item: DecodedRecord) -> UserKey:
    return item[1].project_id, item[1].user_id
