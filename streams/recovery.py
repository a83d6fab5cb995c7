"""Faust's recovery, which every app runs in a rebalance, with the patience that an outage of the broker asks for."""

from collections.abc import Callable
from typing import Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery


class PatientRecovery(Recovery):
    """Waits until the broker is back, a new rebalance begins or the app stops.

    Where a time runs out, mode says that the service was stopped: Faust's recovery ends for good, without an error, and
    the app takes up no partition any more, though its member of the group goes on saying that it lives.
    """

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ARG002
        await super()._wait(coro)


def tables_with(recovery: Callable[..., Recovery]) -> type[TableManager]:
    """A table manager for `new_app` that makes its recovery so, out of the app, itself and mode's options."""

    class Tables(TableManager):
        @property
        def recovery(self) -> Recovery:
            if self._recovery is None:
                self._recovery = recovery(self.app, self, beacon=self.beacon, loop=self.loop)
            return self._recovery

    return Tables
