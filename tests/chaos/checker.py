"""Compares what was produced with Postgres, `dead-letters` and the topics of changes, once the system has settled.

The audit looks for what contradicts itself; this knows what was sent, and so what must be there and what must not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.audit import Range, Report, audit
from cli.audit_findings import CheckName
from cli.audit_view import described
from cli.scanning import topic_scanner
from schemas import headers as names
from schemas.settings import Settings
from storage.database import create_engine
from streams.topics import Topics

Expectation = Literal["applied", "parked", "aborted", "erased", "either"]
State = Literal["applied", "parked", "erased"]
Owner = tuple[str, str]
Facts = Mapping[Owner, Mapping[tuple[str, str], str]]

SHOWN: Final = 20
UNFINISHED: Final = ("unread", "buffered", "extracting", "held")
ALLOWED: Final[Mapping[Expectation, tuple[State, ...]]] = {
    "applied": ("applied",),
    "parked": ("parked",),
    "erased": ("erased",),
    "either": ("applied", "parked"),
    "aborted": (),
}


@dataclass(frozen=True, slots=True)
class ProducedRecord:
    """A record as it was sent, once for each blob however often it was. `number` is its place among the user's.

    `reason` is that of a parked one, None for any. `is_in_order` is False where no order is promised: on a partition
    that is not the user's.
    """

    project_id: str
    user_id: str
    blob_id: str
    number: int
    expected: Expectation = "applied"
    reason: str | None = None
    is_in_order: bool = True

    @property
    def key(self) -> tuple[str, str, str]:
        return self.project_id, self.user_id, self.blob_id


@dataclass(slots=True)
class Found:
    """How often something is wrong, and the first few."""

    count: int = 0
    samples: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, sample: str) -> None:
        self.count += 1
        if len(self.samples) < SHOWN:
            self.samples.append(sample)


@dataclass(slots=True)
class Verdict:
    """What is wrong, by kind. `unfinished` counts what the stages still hold: settle before you check."""

    produced: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    lost: Found = field(default_factory=Found)
    twice: Found = field(default_factory=Found)
    out_of_order: Found = field(default_factory=Found)
    stale: Found = field(default_factory=Found)
    orphans: Found = field(default_factory=Found)
    unpublished: Found = field(default_factory=Found)
    ledger: Found = field(default_factory=Found)
    dead_letters: Found = field(default_factory=Found)
    changes: Found = field(default_factory=Found)
    unexpected: Found = field(default_factory=Found)
    facts: Found = field(default_factory=Found)
    unfinished: int = 0

    @property
    def findings(self) -> dict[str, Found]:
        """By name, all of them."""
        return {name: value for name in self.__slots__ if isinstance(value := getattr(self, name), Found)}

    @property
    def wrong(self) -> dict[str, int]:
        """The counts of what there is any of."""
        return {name: found.count for name, found in self.findings.items() if found}

    @property
    def is_clean(self) -> bool:
        return not self.wrong and not self.unfinished

    def rows(self) -> list[tuple[str, int, str]]:
        """For a table: what, how often, and the first of it."""
        wrong = [(name, found.count, next(iter(found.samples), "")) for name, found in self.findings.items()]
        counts = [("produced", self.produced, ""), *((name, count, "") for name, count in self.outcomes.items())]
        return [*counts, ("unfinished", self.unfinished, ""), *wrong]


@dataclass(slots=True)
class _Fate:
    """What has become of a blob: the states of its units, and why it is parked."""

    states: set[State] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)

    @property
    def state(self) -> State | None:
        """One for all: what is parked in part counts as parked."""
        order: tuple[State, ...] = ("erased", "parked", "applied")
        return next((state for state in order if state in self.states), None)


async def check(settings: Settings, produced: Sequence[ProducedRecord], expected_facts: Facts | None = None) -> Verdict:
    """Judge a system that has settled. Holds something of every record, so 500,000 take a few hundred MB."""
    verdict = Verdict(produced=len(produced))
    records = {record.key: record for record in produced}
    _note_audit(await audit(settings, Range(), outbox_age_s=0.0), verdict)
    engine = create_engine(settings.storage)
    try:
        async with engine.connect() as connection:
            fates = {key: _Fate() for key in records}
            await _read_units(connection, fates, verdict)
            await _read_refused(settings, records, fates)
            for record in records.values():
                _judge(record, fates[record.key], verdict)
            await _check_order(connection, records, verdict)
            if expected_facts is not None:
                await _check_facts(connection, expected_facts, verdict)
    finally:
        await engine.dispose()
    return verdict


def _note_audit(report: Report, verdict: Verdict) -> None:
    kinds: dict[CheckName, Found] = {
        "once": verdict.twice,
        "order": verdict.out_of_order,
        "dead-letters": verdict.dead_letters,
        "ledger": verdict.ledger,
        "profiles": verdict.stale,
        "changes": verdict.changes,
        "change-order": verdict.out_of_order,
        "orphans": verdict.orphans,
        "outbox": verdict.unpublished,
    }
    for item in report.checks:
        # Which record is lost is known better here.
        if (found := kinds.get(item.name)) is not None:
            found.count += item.wrong
            found.samples += [described(sample) for sample in item.samples]
    if report.tally is not None:
        verdict.unfinished = sum(report.tally.counts[outcome] for outcome in UNFINISHED)


async def _read_units(connection: AsyncConnection, fates: dict[tuple[str, str, str], _Fate], verdict: Verdict) -> None:
    query = text("SELECT project_id, user_id, blob_id, state, reason FROM units WHERE generation = 0")
    async with connection.stream(query) as rows:
        async for project_id, user_id, blob_id, state, reason in rows:
            fate = fates.get((project_id, user_id, blob_id))
            if fate is None:
                verdict.unexpected.add(f"{project_id}/{user_id} {blob_id}: was never produced")
                continue
            fate.states.add(state)
            if reason is not None:
                fate.reasons.add(reason)


async def _read_refused(
    settings: Settings,
    records: Mapping[tuple[str, str, str], ProducedRecord],
    fates: Mapping[tuple[str, str, str], _Fate],
) -> None:
    """Note what the buffer agent has parked, which Postgres knows nothing of."""
    by_user: dict[tuple[str, str], ProducedRecord] = {
        (record.user_id, record.blob_id): record for record in records.values()
    }
    topic = Topics(settings.kafka.topic_prefix).dead_letters
    async with topic_scanner(settings.kafka) as scanner:
        first, end = await scanner.bounds(topic)
        async for batch in scanner.scan(topic, first, end):
            for letter in batch:
                found = dict(letter.headers)
                if found.get(names.ERROR_STAGE) == b"buffer":
                    record = by_user.get(_blob_of(letter, found))
                    if record is not None:
                        fate = fates[record.key]
                        fate.states.add("parked")
                        fate.reasons.add(found[names.ERROR_REASON].decode())


def _blob_of(letter: Any, found: Mapping[str, bytes]) -> tuple[str, str]:
    """User and blob id: from the value, or from key and header of one that cannot be read."""
    try:
        document = orjson.loads(letter.value or b"")
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        document = {}
    user_id = document.get("user_id") or (letter.key or b"").decode("utf-8", "replace")
    blob_id = document.get("id") or found.get(names.BLOB_ID, b"").decode("utf-8", "replace")
    return str(user_id), str(blob_id)


def _judge(record: ProducedRecord, fate: _Fate, verdict: Verdict) -> None:
    """One record: lost, unexpected, or as it should be."""
    state = fate.state
    outcome = state or ("aborted" if record.expected == "aborted" else "lost")
    verdict.outcomes[outcome] = verdict.outcomes.get(outcome, 0) + 1
    name = f"{record.project_id}/{record.user_id} {record.blob_id} (number {record.number})"
    if state is None:
        if record.expected != "aborted":
            verdict.lost.add(name)
    elif state not in ALLOWED[record.expected]:
        verdict.unexpected.add(f"{name}: {state}, expected {record.expected}")
    elif state == "parked" and record.reason is not None and fate.reasons != {record.reason}:
        verdict.unexpected.add(f"{name}: parked as {sorted(fate.reasons)}, expected {record.reason}")


# With the first revision at which the window of a unit has changed memory: that is the order of commits.
_IN_ORDER: Final = text("""
    WITH changed AS (
        SELECT project_id, user_id, unnest(window_ids) AS window_id, revision FROM events WHERE updated_at IS NULL
        UNION ALL
        SELECT project_id, user_id, unnest(window_ids), revision FROM profile_history WHERE extractor IS NOT NULL
    ), first AS (
        SELECT project_id, user_id, window_id, min(revision) AS revision FROM changed GROUP BY 1, 2, 3
    )
    SELECT project_id, user_id, units.blob_type, units.blob_id, first.revision
    FROM units JOIN first USING (project_id, user_id, window_id)
    WHERE units.state = 'applied'
    ORDER BY project_id, user_id, units.blob_type, first.revision
""")


async def _check_order(
    connection: AsyncConnection, records: Mapping[tuple[str, str, str], ProducedRecord], verdict: Verdict
) -> None:
    async with connection.stream(_IN_ORDER) as rows:
        numbered: list[tuple[tuple[str, str, str], int, int]] = []
        async for project_id, user_id, blob_type, blob_id, revision in rows:
            record = records.get((project_id, user_id, blob_id))
            if record is None or not record.is_in_order:
                continue
            owner = (project_id, user_id, blob_type)
            if numbered and numbered[-1][0] != owner:
                _note_disorder(numbered, verdict)
                numbered = []
            numbered.append((owner, revision, record.number))
        _note_disorder(numbered, verdict)


def _note_disorder(numbered: Sequence[tuple[tuple[str, str, str], int, int]], verdict: Verdict) -> None:
    for (project_id, user_id, _), number, before in disorder(
        (owner, revision, number) for owner, revision, number in numbered
    ):
        verdict.out_of_order.add(f"{project_id}/{user_id}: number {number} was applied after {before}")


def disorder(
    numbered: Iterable[tuple[tuple[str, str, str], int, int]],
) -> Iterator[tuple[tuple[str, str, str], int, int]]:
    """Of one owner's (owner, revision, number) by revision: each that is below one of an earlier revision, with that.

    What was applied together, at one revision, has no order.
    """
    highest = done = -1
    current: int | None = None
    for owner, revision, number in numbered:
        if revision != current:
            current, done = revision, highest
        if number < done:
            yield owner, number, done
        highest = max(highest, number)


async def _check_facts(connection: AsyncConnection, expected: Facts, verdict: Verdict) -> None:
    """The profiles of these users hold these entries, whatever else."""
    there: dict[Owner, dict[tuple[str, str], str]] = {}
    query = text("SELECT project_id, user_id, topic, sub_topic, content FROM profiles WHERE generation = 0")
    async with connection.stream(query) as rows:
        async for project_id, user_id, topic, sub_topic, content in rows:
            if (project_id, user_id) in expected:
                there.setdefault((project_id, user_id), {})[topic, sub_topic] = content
    for owner, facts in expected.items():
        for slot, content in facts.items():
            if there.get(owner, {}).get(slot) != content:
                verdict.facts.add(f"{'/'.join(owner)}: {'/'.join(slot)} is not what was said last")
