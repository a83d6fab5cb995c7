"""One extraction attempt of a user's windows: from what is recorded of their units to the committed transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from agents.accounts import Accounts, Meter
from agents.bisection import Merged, extract_units, merge_topics
from agents.counting import count_units
from agents.dependencies import ExtractionDeps
from agents.endpoint import HEALTH_PART, Endpoint
from agents.faults import CUT_DIFFERENTLY, Findings, Parked, UserKey, split_messages, units_behind
from agents.tracing import attempt_span, transaction_span
from schemas.conversation import messages_of
from schemas.errors import EndpointRefused, InvalidRecord, RetryLater
from schemas.images import UNSUPPORTED_CONTENT
from schemas.memory import Extraction, MemoryUpdate, Profile
from schemas.profile_schema import ProfilePolicy
from schemas.tracing import OUTCOME, Span
from schemas.windows import Position, Unit, Window
from storage.applying import Application, ParkedUnit, ProfileMoved, UnitsMoved, apply
from storage.errors import translated
from storage.reading import look_up_units, read_profile
from storage.units import ID_CONFLICT, UnitBook, UnitOutcome, covers
from storage.usage import Attempt, UsageOutcome

log = structlog.get_logger()

# How often units may move under one attempt before it counts as failed.
MAX_RESTARTS: Final = 5
# With more transactions at a time each ends later, and none of them earlier: the worker's own processor is the limit,
# as long as a round trip to Postgres takes less than some milliseconds.
COMMITS_AT_ONCE: Final = 4

_BLIND: Final = (
    "an image is read only with llm.vision: true, extraction.provider: openai and a model that sees; set them, then "
    "send it again"
)

InTransaction = Callable[[AsyncConnection], Awaitable[None]]


async def nothing_more(connection: AsyncConnection) -> None:
    """For windows that leave nothing behind where they came from."""


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """What to do with units: extract, park, or only count."""

    remaining: tuple[Unit, ...]
    parked: tuple[Parked, ...]
    skipped: tuple[tuple[Unit, UnitOutcome], ...]


def plan_units(units: Iterable[Unit], book: UnitBook, reads_images: bool = False) -> UnitPlan:
    """Sort units by what is recorded of them, by what came before them in the same windows, and by what they hold."""
    remaining: dict[str, list[Unit]] = {}
    order: list[Unit] = []
    parked: list[Parked] = []
    skipped: list[tuple[Unit, UnitOutcome]] = []

    def sort(unit: Unit) -> None:
        outcome = book.outcome(unit)
        earlier = remaining.get(unit.blob_id, [])
        if outcome in ("new", "parked"):
            if any(before.content_hash != unit.content_hash for before in earlier):
                outcome = "conflict"
            # What is parked in pieces is cut into them below, and each is looked at by itself.
            elif any(
                covers(before.key, unit.key) or (outcome == "new" and covers(unit.key, before.key))
                for before in earlier
            ):
                outcome = "applied"
        pieces = split_messages(unit) if outcome == "parked" and book.pieces(unit) else []
        if len(pieces) > 1:
            for piece in pieces:
                sort(piece)
        elif outcome in ("applied", "erased"):
            skipped.append((unit, outcome))
        # Its dead letter is written: this is the same record once more, not a redrive.
        elif outcome in ("conflict", "parked") and book.parked_here(unit):
            skipped.append((unit, "parked"))
        elif outcome == "conflict":
            parked.append(Parked(unit, ID_CONFLICT, "another blob came with the same id before"))
        elif "applied" in book.pieces(unit).values():
            parked.append(Parked(unit, CUT_DIFFERENTLY, "parts of this message are applied, cut at other borders"))
        elif fault := _image_fault(unit, reads_images):
            parked.append(Parked(unit, UNSUPPORTED_CONTENT, fault))
        else:
            remaining.setdefault(unit.blob_id, []).append(unit)
            order.append(unit)

    for unit in units:
        sort(unit)
    return UnitPlan(tuple(order), tuple(parked), tuple(skipped))


def _image_fault(unit: Unit, reads_images: bool) -> str | None:
    """Why an image of the unit cannot be shown to a model; None where it has none, or it can."""
    images = [message.image for message in messages_of(unit) if message.image is not None]
    if images and not reads_images:
        return _BLIND
    try:
        for image in images:
            image.address()
    except InvalidRecord as error:
        return error.detail
    return None


def usage_outcome(application: Application) -> UsageOutcome:
    """The best that came of what an attempt spent."""
    if application.applied:
        return "applied"
    if application.parked:
        return "parked"
    return "erased" if any(outcome == "erased" for _, outcome in application.skipped) else "duplicate"


class Applier:
    """Extracts windows and applies what they say.

    Raises RetryLater when an endpoint or Postgres is away, and its BudgetReached when nothing may be spent.
    """

    def __init__(self, deps: ExtractionDeps, endpoint: Endpoint, accounts: Accounts) -> None:
        self._deps = deps
        self._endpoint = endpoint
        self._accounts = accounts
        self._places = asyncio.Semaphore(COMMITS_AT_ONCE)
        self._shadow = None if deps.shadow is None else deps.shadow.generation

    async def apply_windows(
        self,
        user: UserKey,
        windows: Sequence[tuple[Window, Position]],
        attempts: int,
        in_transaction: InTransaction = nothing_more,
    ) -> None:
        """Bring every unit of the windows to an end, and their ledger rows, in one transaction.

        `attempts` counts this one; `in_transaction` is run inside the transaction, after everything else.
        """
        with attempt_span(self._deps.tracer, windows, attempts) as span:
            await self._attempt(user, windows, attempts, in_transaction, span)

    async def _attempt(
        self,
        user: UserKey,
        windows: Sequence[tuple[Window, Position]],
        attempts: int,
        in_transaction: InTransaction,
        span: Span,
    ) -> None:
        meter = Meter(self._deps.clock.new_id())
        begin_s = self._deps.clock.monotonic()
        outcome: UsageOutcome | None = "stopped"
        try:
            for _ in range(MAX_RESTARTS):
                if await self._apply(user, windows, attempts, in_transaction, meter):
                    outcome = None
                    return
                log.info("extraction.units_moved", project_id=user[0], user_id=user[1])
            raise RetryLater("other workers apply the same units again and again")
        except RetryLater as error:
            outcome = "waiting"
            if isinstance(error, EndpointRefused):
                self._deps.health.report(HEALTH_PART, str(error))
            raise
        finally:
            duration_s = self._deps.clock.monotonic() - begin_s
            ended_as = outcome or meter.ended_as
            self._deps.metrics.observe("memostream_extraction_duration_seconds", duration_s, outcome=ended_as)
            span.note({OUTCOME: ended_as})
            # Also when it is cancelled: what was spent was spent.
            if outcome is not None and not meter.is_empty:
                ended = self._accounts.attempt(meter, user, [window for window, _ in windows], outcome)
                await self._accounts.record_apart(ended)

    async def _apply(
        self,
        user: UserKey,
        windows: Sequence[tuple[Window, Position]],
        attempts: int,
        in_transaction: InTransaction,
        meter: Meter,
    ) -> bool:
        """False if somebody else applied or erased some of the units meanwhile."""
        units = [unit for window, _ in windows for unit in window.units]
        with translated("looking up units"):
            async with self._deps.engine.connect() as connection:
                book = await look_up_units(connection, *user, {unit.blob_id for unit in units}, self._shadow)
                profile = await read_profile(connection, *user, self._shadow)
        # One policy for the whole attempt: facts are merged by the rules that they were extracted by.
        policy = await self._deps.policy_of_project(user[0])
        meter.model = self._endpoint.identity(policy).model
        plan = plan_units(units, book, self._deps.reads_images)
        if plan.remaining:
            await self._accounts.check(user)
        findings = await self._extract(user, plan.remaining, profile, policy, meter)
        while True:
            merged = await self._merge(user, findings, profile, policy, meter)
            if merged.reason:
                findings = await self._without(user, findings, merged, profile, policy, meter)
                continue
            application = Application(
                *user,
                windows=tuple(window for window, _ in windows),
                read_revision=profile.revision,
                update=merged.update,
                applied=findings.applied,
                parked=tuple(
                    ParkedUnit(parked.unit, parked.reason, parked.detail, attempts, parked.stage, parked.exception)
                    for parked in plan.parked + findings.parked
                ),
                skipped=plan.skipped,
                extractor=self._endpoint.identity(policy),
                window_positions={window.window_id: position for window, position in windows},
                keep_blobs=self._deps.keep_blobs,
                embeds_by=self._deps.embeds_by,
                shadow=self._shadow,
            )
            attempt = None
            if plan.remaining or not meter.is_empty:
                attempt = self._accounts.attempt(meter, user, application.windows, usage_outcome(application))
            try:
                await self._commit(application, attempt, in_transaction)
            except UnitsMoved:
                return False
            except ProfileMoved:
                profile = await self._read_profile(user)
                # Merged once more, but not embedded once more.
                findings = replace(findings, extraction=merged.update.extraction)
                continue
            meter.ended_as = usage_outcome(application)
            count_units(self._deps.metrics, application)
            log.info(
                "extraction.applied",
                project_id=user[0],
                user_id=user[1],
                windows=len(windows),
                applied=len(application.applied),
                parked=len(application.parked),
                skipped=len(application.skipped),
                changes=len(merged.update.changes),
                over_limit=len(merged.update.over_limit),
                attempts=attempts,
            )
            return True

    async def _extract(
        self, user: UserKey, units: Sequence[Unit], profile: Profile, policy: ProfilePolicy, meter: Meter
    ) -> Findings:
        if not units:
            return Findings()
        return await extract_units(
            lambda messages: self._endpoint.extract(user, messages, profile, policy, meter), units
        )

    async def _merge(
        self, user: UserKey, findings: Findings, profile: Profile, policy: ProfilePolicy, meter: Meter
    ) -> Merged:
        if not findings.applied:
            return Merged(MemoryUpdate())
        return await merge_topics(
            lambda extraction: self._endpoint.merge(user, extraction, profile, policy, meter), findings.extraction
        )

    async def _without(
        self,
        user: UserKey,
        findings: Findings,
        merged: Merged,
        profile: Profile,
        policy: ProfilePolicy,
        meter: Meter,
    ) -> Findings:
        """Park what the refused facts were taken from, and extract the rest again without it."""
        behind, others = units_behind(findings.applied, merged.refused)
        if not behind:
            behind, others = list(findings.applied), []
        poison = Findings(
            parked=tuple(Parked(unit, merged.reason, merged.detail, "merge", merged.exception) for unit in behind)
        )
        return (
            replace(findings, extraction=Extraction(), applied=())
            + poison
            + await self._extract(user, others, profile, policy, meter)
        )

    async def _read_profile(self, user: UserKey) -> Profile:
        with translated("reading a profile"):
            async with self._deps.engine.connect() as connection:
                return await read_profile(connection, *user, self._shadow)

    async def _commit(self, application: Application, attempt: Attempt | None, in_transaction: InTransaction) -> None:
        clock = self._deps.clock
        async with self._places:
            with translated("applying windows"), transaction_span(self._deps.tracer, application.update):
                async with self._deps.engine.begin() as connection:
                    await apply(connection, application, clock.now(), clock.new_id, attempt)
                    await in_transaction(connection)
        if attempt is not None:
            await self._accounts.written(attempt)
