"""The policy of each project: the server's settings and what the project's own configuration puts in their place."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import ConfigurationError, RetryLater
from schemas.health import Health
from schemas.policies import checked_policy, policy_of
from schemas.profile_schema import ProfilePolicy
from schemas.project_config import parse_project_config
from schemas.settings import Settings
from storage.errors import translated
from storage.projects import read_project_config

log = structlog.get_logger()

# How soon a change is noticed; between two looks a project costs no query.
KEEP_S: Final = 2.0
MAX_PROJECTS: Final = 1024

# A project's configuration as it is stored; None without one. Raises RetryLater when Postgres is away.
ReadConfig = Callable[[str], Awaitable[str | None]]


def stored_in(engine: AsyncEngine) -> ReadConfig:
    async def read(project_id: str) -> str | None:
        with translated("reading a project's configuration"):
            async with engine.connect() as connection:
                stored = await read_project_config(connection, project_id)
        return None if stored is None else stored.text

    return read


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a project since `read_at`; `problem` says why its configuration is not followed."""

    text: str | None
    policy: ProfilePolicy
    read_at: float
    problem: str | None = None


class PolicyBook:
    """Policies by project: looked up again after `keep_s`, parsed again only when the text has changed.

    A configuration that was taken once and no longer holds must not stop its project: the server's policy is
    followed then, and log and health say so until it is set anew.
    """

    def __init__(
        self,
        settings: Settings,
        read: ReadConfig,
        health: Health,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        keep_s: float = KEEP_S,
        max_projects: int = MAX_PROJECTS,
    ) -> None:
        self._settings = settings
        self._of_server = policy_of(settings)
        self._read = read
        self._health = health
        self._monotonic = monotonic
        self._keep_s = keep_s
        self._max_projects = max_projects
        # The project that was asked for the longest ago comes first.
        self._known: OrderedDict[str, Known] = OrderedDict()

    async def policy_of(self, project_id: str) -> ProfilePolicy:
        """Raises RetryLater when Postgres is away and nothing fresh is known."""
        known = self._known.get(project_id)
        if known is None or self._monotonic() - known.read_at >= self._keep_s:
            known = await self._look(project_id)
        if project_id in self._known:
            self._known.move_to_end(project_id)
        return known.policy

    async def watch(self) -> None:
        """Until cancelled: look again at what does not hold, so that health recovers without a window."""
        while True:
            await asyncio.sleep(self._keep_s)
            for project_id in [name for name, known in self._known.items() if known.problem]:
                try:
                    await self._look(project_id)
                except RetryLater as error:
                    log.warning("policy.waiting", project_id=project_id, reason=str(error))

    async def _look(self, project_id: str) -> Known:
        read_at = self._monotonic()
        text = await self._read(project_id)
        before = self._known.get(project_id)
        # Somebody else has looked meanwhile, and later.
        if before is not None and before.read_at > read_at:
            return before
        if before is not None and before.text == text:
            known = Known(text, before.policy, read_at, before.problem)
        else:
            known = self._decide(project_id, text, read_at)
        self._known[project_id] = known
        while len(self._known) > self._max_projects:
            self._health.clear(_part(self._known.popitem(last=False)[0]))
        return known

    def _decide(self, project_id: str, text: str | None, read_at: float) -> Known:
        self._health.clear(_part(project_id))
        if text is None:
            return Known(None, self._of_server, read_at)
        try:
            policy = checked_policy(self._settings, parse_project_config(text))
        except ConfigurationError as error:
            problem = f"project {project_id}: its configuration is not followed but the server's, set it anew: {error}"
            self._health.report(_part(project_id), problem)
            log.warning("policy.config_refused", project_id=project_id, reason=str(error))
            return Known(text, self._of_server, read_at, problem)
        log.info("policy.config_read", project_id=project_id)
        return Known(text, policy, read_at)


def _part(project_id: str) -> str:
    return f"project-config:{project_id}"
