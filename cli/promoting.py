"""Promotes a shadow: user by user, each in a transaction, in rounds until the shadow is there for everybody."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from cli.databases import open_database
from cli.identifiers import named
from cli.progress import counting
from cli.promotion_rules import check_extractor, check_made, check_worked_for
from cli.scanning import topic_scanner
from cli.shadow_progress import ShadowReader
from cli.shadows import named_shadow
from cli.snapshots import LOOK_AFTER_USERS, wait_for_room
from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.errors import NotFound
from schemas.health import Health
from schemas.policies import policy_of
from schemas.settings import Settings
from storage.errors import translated
from storage.policies import PolicyBook, stored_in
from storage.promotion import Promoter, PromotionResult, promote_user
from storage.promotion_coverage import Barrier, Later, Left, LeftReason
from storage.promotion_reading import count_users
from storage.shadow_comparing import unpromoted_pages
from storage.shadows import Shadow, State, deciding, set_state
from storage.user_listing import PAGE_USERS, UserKey
from storage.workers import extraction_workers

# Of the users that are left, so many are named.
LEFT_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom to promote: all, a project, or one user of one."""

    project_id: str | None = None
    user_id: str | None = None

    @property
    def is_all(self) -> bool:
        return self.project_id is None and self.user_id is None


@dataclass(slots=True)
class PromotionReport:
    """What became of the users. `already` were promoted before; those in `later` the shadow has not read everything of.

    `left` counts by reason those who keep their memory, and `left_users` names the first of them.
    """

    shadow: str
    executed: bool
    state: State
    promoted: int = 0
    already: int = 0
    later: int = 0
    left: Counter[LeftReason] = field(default_factory=Counter)
    left_users: list[tuple[UserKey, LeftReason]] = field(default_factory=list)

    def leave(self, user: UserKey, reason: LeftReason) -> None:
        """Count a user who is left."""
        self.left[reason] += 1
        if len(self.left_users) < LEFT_SHOWN:
            self.left_users.append((user, reason))


async def promote(settings: Settings, name: str, wanted: Wanted, *, execute: bool, quiet: bool) -> PromotionReport:
    """Put a shadow in the place of live memory, or say what that would do now.

    Stopped at any point, it is called again, and goes on. Raises NotFound, ConfigurationError and Conflict where it may
    not be, before anything is changed, and RetryLater if the broker or Postgres are away.
    """
    extractor = create_extractor(settings)
    try:
        prefix = settings.kafka.topic_prefix
        async with (
            open_database(settings.storage) as engine,
            deciding(engine, prefix, name) if execute else nullcontext(),
        ):
            with translated("promoting a shadow"):
                shadow = await _find(engine, settings, name, extractor)
                async with topic_scanner(settings.kafka) as scanner:
                    reader = ShadowReader(shadow, settings.kafka, scanner, engine)
                    promotion = _Promotion(settings, engine, extractor, shadow, reader, quiet)
                    return await promotion.run(wanted, execute=execute)
    finally:
        await extractor.close()


async def _find(engine: AsyncEngine, settings: Settings, name: str, extractor: Extractor) -> Shadow:
    prefix = settings.kafka.topic_prefix
    async with engine.connect() as connection:
        shadow = await named_shadow(connection, prefix, name)
        workers = await extraction_workers(connection, prefix)
    check_made(shadow)
    check_extractor(shadow, extractor.identity(policy_of(settings)), workers)
    return shadow


class _Promotion:
    def __init__(
        self,
        settings: Settings,
        engine: AsyncEngine,
        extractor: Extractor,
        shadow: Shadow,
        reader: ShadowReader,
        quiet: bool,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._extractor = extractor
        self._shadow = shadow
        self._reader = reader
        self._quiet = quiet
        self._policies = PolicyBook(settings, stored_in(engine), Health())
        # What should be there may be on its way, so it is looked for twice.
        self._missed: set[UserKey] = set()

    async def run(self, wanted: Wanted, *, execute: bool) -> PromotionReport:
        shadow = self._shadow
        async with self._engine.connect() as connection:
            open_count, already = await count_users(connection, shadow.generation, wanted.project_id, wanted.user_id)
        if not wanted.is_all and not open_count + already:
            raise NotFound(f"shadow {shadow.name} has nothing of {named(wanted.project_id, wanted.user_id)}")
        report = PromotionReport(shadow.name, execute, shadow.state, already=already)
        if shadow.state == "promoted":
            return report
        progress = await self._reader.look()
        if not execute:
            with counting("looking", open_count, quiet=self._quiet) as advance:
                later = await self._round(self._open(wanted), progress.barrier, report, advance, execute=False)
            report.later = len(later)
            return report
        check_worked_for(shadow, progress, open_count)
        await self._set_state(report, "promoting")
        with counting("promoting", open_count, quiet=self._quiet) as advance:
            barrier = await self._reader.wait() if open_count else progress.barrier
            later = await self._round(self._open(wanted), barrier, report, advance, execute=True)
            while later:
                barrier = await self._reader.wait()
                later = await self._round(_pages(later), barrier, report, advance, execute=True)
        if wanted.is_all:
            await self._set_state(report, "promoted")
        return report

    async def _round(
        self,
        pages: AsyncIterator[Sequence[UserKey]],
        barrier: Barrier,
        report: PromotionReport,
        advance: Callable[[int], None],
        *,
        execute: bool,
    ) -> list[UserKey]:
        """Promote users behind a barrier, and return those for whom it is too early."""
        later: list[UserKey] = []
        count = 0
        async for page in pages:
            for user in page:
                if execute and count % LOOK_AFTER_USERS == 0:
                    await wait_for_room(self._engine)
                count += 1
                try:
                    result = await self._promote(user, barrier, execute=execute)
                except Later:
                    later.append(user)
                    continue
                except Left as error:
                    if error.reason == "missing" and execute and user not in self._missed:
                        self._missed.add(user)
                        later.append(user)
                        continue
                    report.leave(user, error.reason)
                else:
                    report.promoted += result == "promoted"
                    report.already += result == "already"
                advance(1)
        return later

    async def _promote(self, user: UserKey, barrier: Barrier, *, execute: bool) -> PromotionResult:
        identity = self._extractor.identity(await self._policies.policy_of(user[0]))
        how = Promoter(
            shadow=self._shadow.name,
            generation=self._shadow.generation,
            barrier=barrier,
            now=datetime.now(UTC),
            new_id=uuid.uuid4,
            # What the topics of changes take as one record, less the room for headers.
            max_payload_bytes=2 * self._settings.buffer.max_blob_bytes,
            execute=execute,
        )
        async with self._engine.connect() as connection:
            result = await promote_user(connection, *user, identity, how)
            if execute:
                await connection.commit()
        return result

    async def _open(self, wanted: Wanted) -> AsyncIterator[Sequence[UserKey]]:
        async with self._engine.connect() as connection:
            async for page in unpromoted_pages(
                connection, self._shadow.generation, PAGE_USERS, wanted.project_id, wanted.user_id
            ):
                # Work on a page takes long, and an idle transaction would be ended.
                await connection.rollback()
                yield page

    async def _set_state(self, report: PromotionReport, state: State) -> None:
        async with self._engine.begin() as connection:
            await set_state(connection, self._shadow.generation, state)
        report.state = state


async def _pages(users: Sequence[UserKey]) -> AsyncIterator[Sequence[UserKey]]:
    yield users
