"""Compares what was produced with Postgres, `dead-letters` and the topics of changes, once the system has settled.

The audit looks for what contradicts itself; this knows what was sent, and so what must be there and what must not.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.audit import STATEMENT_S, Range, Report, audit
from cli.audit_findings import CheckName
from cli.audit_view import described
from cli.scanning import topic_scanner
from schemas import headers as names
from schemas.settings import Settings
from storage.database import create_engine
from streams.topics import Topics

Expectation = Literal["applied", "parked", "aborted", "erased", "either"]
Owner = tuple[str, str]
Facts = Mapping[Owner, Mapping[tuple[str, str], str]]

SHOWN: Final = 20
UNFINISHED: Final = ("unread", "buffered", "extracting", "held")
ALLOWED: Final[Mapping[Expectation, tuple[str, ...]]] = {
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
    # What the audit alone has found, by check.
    audited: dict[CheckName, int] = field(default_factory=dict)

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

    states: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)

    @property
    def state(self) -> str | None:
        """One for all: what is parked in part counts as parked."""
        return next((state for state in ("erased", "parked", "applied") if state in self.states), None)


async def check(settings: Settings, produced: Sequence[ProducedRecord], expected_facts: Facts | None = None) -> Verdict:
    """Judge a system that has settled. Postgres compares; only what is not simply applied is looked at here."""
    produced = list({record.key: record for record in produced}.values())
    verdict = Verdict(produced=len(produced))
    _note_audit(await audit(settings, Range(), outbox_age_s=0.0), verdict)
    engine = create_engine(settings.storage, STATEMENT_S)
    try:
        async with engine.connect() as connection:
            await _hand_over(connection, produced)
            fates = {produced[row.number]: row.fate async for row in _exceptions(connection)}
            await _read_refused(settings, fates)
            verdict.outcomes["applied"] = len(produced) - len(fates)
            for record, fate in fates.items():
                _judge(record, fate, verdict)
            async for name in _texts_of(connection, _UNKNOWN):
                verdict.unexpected.add(f"{name}: was never produced")
            async for name in _texts_of(connection, _DISORDER):
                verdict.out_of_order.add(name)
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
        if item.wrong:
            verdict.audited[item.name] = item.wrong
        # Which record is lost is known better here.
        if (found := kinds.get(item.name)) is not None:
            found.count += item.wrong
            found.samples += [described(sample) for sample in item.samples]
    if report.tally is not None:
        verdict.unfinished = sum(report.tally.counts[outcome] for outcome in UNFINISHED)


async def _hand_over(connection: AsyncConnection, produced: Sequence[ProducedRecord]) -> None:
    """Put what was produced into a table of this connection's own."""
    columns = ("index", "project_id", "user_id", "blob_id", "number", "expected", "is_in_order")
    await connection.execute(
        text(
            "CREATE TEMPORARY TABLE produced (index integer, project_id text, user_id text, blob_id text, "
            "number integer, expected text, is_in_order boolean)"
        )
    )
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    rows = (
        (index, *record.key, record.number, record.expected, record.is_in_order)
        for index, record in enumerate(produced)
    )
    await raw.copy_records_to_table("produced", records=rows, columns=columns)
    await connection.execute(text("CREATE UNIQUE INDEX ON produced (project_id, user_id, blob_id)"))
    await connection.execute(text("ANALYZE produced"))


# All that was not expected to be applied, and is, as a whole.
_EXCEPTIONS: Final = text("""
    SELECT index, array_agg(DISTINCT state) FILTER (WHERE state IS NOT NULL) AS states,
        array_agg(DISTINCT reason) FILTER (WHERE reason IS NOT NULL) AS reasons
    FROM produced LEFT JOIN (SELECT * FROM units WHERE generation = 0) units USING (project_id, user_id, blob_id)
    GROUP BY index, expected
    HAVING expected <> 'applied' OR NOT bool_and(coalesce(state, '') = 'applied')
""")

_UNKNOWN: Final = text("""
    SELECT DISTINCT project_id || '/' || user_id || ' ' || blob_id FROM units
    WHERE NOT EXISTS (SELECT FROM produced WHERE (produced.project_id, produced.user_id, produced.blob_id)
        = (units.project_id, units.user_id, units.blob_id))
""")

# Commits are in the order of revisions; a window has the first at which it changed memory. What was applied together
# has no order, and types of blobs are buffered apart.
_DISORDER: Final = text("""
    WITH changed AS (
        SELECT project_id, user_id, unnest(window_ids) AS window_id, revision FROM events WHERE updated_at IS NULL
        UNION ALL
        SELECT project_id, user_id, unnest(window_ids), revision FROM profile_history WHERE extractor IS NOT NULL
    ), first AS (
        SELECT project_id, user_id, window_id, min(revision) AS revision FROM changed GROUP BY 1, 2, 3
    ), numbered AS (
        SELECT project_id, user_id, number, max(number) OVER (
            PARTITION BY project_id, user_id, units.blob_type ORDER BY first.revision
            RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP
        ) AS before
        FROM units JOIN first USING (project_id, user_id, window_id) JOIN produced USING (project_id, user_id, blob_id)
        WHERE units.state = 'applied' AND produced.is_in_order
    )
    SELECT project_id || '/' || user_id || ': number ' || number || ' was applied after ' || before
    FROM numbered WHERE number < before
""")


@dataclass(frozen=True, slots=True)
class _Exception:
    """A record that is not simply applied, by its place among the produced."""

    number: int
    fate: _Fate


async def _exceptions(connection: AsyncConnection) -> AsyncIterator[_Exception]:
    async with connection.stream(_EXCEPTIONS) as rows:
        async for index, states, reasons in rows:
            yield _Exception(index, _Fate(set(states or ()), set(reasons or ())))


async def _texts_of(connection: AsyncConnection, query: TextClause) -> AsyncIterator[str]:
    async with connection.stream(query) as rows:
        async for (found,) in rows:
            yield found


async def _read_refused(settings: Settings, fates: Mapping[ProducedRecord, _Fate]) -> None:
    """Note what the buffer agent has parked, which Postgres knows nothing of."""
    by_user = {(record.user_id, record.blob_id): fate for record, fate in fates.items()}
    topic = Topics(settings.kafka.topic_prefix).dead_letters
    async with topic_scanner(settings.kafka) as scanner:
        first, end = await scanner.bounds(topic)
        async for batch in scanner.scan(topic, first, end):
            for letter in batch:
                found = dict(letter.headers)
                fate = by_user.get(_blob_of(letter, found))
                if fate is not None and found.get(names.ERROR_STAGE) == b"buffer":
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
