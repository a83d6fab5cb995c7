"""Whether a role stands still with work before it: a pure rule, and the watch that applies it from time to time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from schemas.metrics import Metrics

# A role is looked at so many times in worker.stalled_after_s, and at least this often.
LOOKS: Final = 5
MAX_PAUSE_S: Final = 10.0
# A look that takes longer has found out nothing.
LOOK_TIMEOUT_S: Final = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Look:
    """A role at one moment: `lag` is what it has to do, None where that cannot be known.

    `moved` is another number after any progress. `waits_for` names what a role waits for that no restart would bring.
    """

    lag: int | None
    moved: int
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """`since_s` is when a role last made progress, had nothing to do, or had to wait for others."""

    moved: int
    since_s: float


def standing_after(before: Standing | None, look: Look, now_s: float) -> Standing:
    """What is known of a role after one more look at it."""
    is_free = not look.lag or look.waits_for is not None
    if before is None or is_free or look.moved != before.moved:
        return Standing(look.moved, now_s)
    return before


def is_stalled(standing: Standing, now_s: float, stalled_after_s: float) -> bool:
    """Whether it has stood still with work before it for longer than any work of its own takes."""
    return now_s - standing.since_s > stalled_after_s


class ProgressWatch:
    """Looks at the roles of a worker from time to time; between two looks the last one counts."""

    def __init__(
        self, metrics: Metrics, stalled_after_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics = metrics
        self._stalled_after_s = stalled_after_s
        self._monotonic = monotonic
        self._looks: dict[str, Callable[[], Awaitable[Look]]] = {}
        self._standings: dict[str, Standing] = {}
        self._stalled: frozenset[str] = frozenset()

    def watch(self, role: str, look: Callable[[], Awaitable[Look]]) -> None:
        """Look at this role from now on."""
        self._looks[role] = look

    @property
    def stalled(self) -> Mapping[str, str]:
        """The roles that stand still, each with the reason that a probe is told."""
        reason = f"it has work and has made no progress for more than {self._stalled_after_s:g} s"
        return dict.fromkeys(sorted(self._stalled), reason)

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = min(MAX_PAUSE_S, self._stalled_after_s / LOOKS)
        while True:
            await asyncio.sleep(pause_s)
            await self.look()

    async def look(self) -> None:
        """One look at each role."""
        for role, look in list(self._looks.items()):
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    seen = await look()
            except TimeoutError:
                seen = Look(None, 0)
            now_s = self._monotonic()
            self._standings[role] = standing_after(self._standings.get(role), seen, now_s)
        now_s = self._monotonic()
        stalled = frozenset(
            role for role, standing in self._standings.items() if is_stalled(standing, now_s, self._stalled_after_s)
        )
        if new := stalled - self._stalled:
            log.error("worker.stalled", roles=sorted(new))
        self._stalled = stalled

    async def show(self) -> None:
        """For a page of metrics."""
        self._metrics.replace("memostream_stalled", {(role,): float(role in self._stalled) for role in self._looks})
