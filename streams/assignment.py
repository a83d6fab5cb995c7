"""Owns the partitions that Faust assigns: a loader takes the place of its recovery."""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.types import TP
from mode import Service

from streams.clients import is_cancelled
from streams.ownership import PartitionOwners
from streams.recovery import PatientRecovery, tables_with


class OwnershipLoader(PatientRecovery):
    """Opens the assigned partitions, then lets the stream begin at the committed offsets.

    Faust's recovery hangs behind a trailing transaction marker, and ended by position it leaves stale state. The order
    here is what makes the step exact: fence, load, and only then read the committed offset and resume.
    """

    def __init__(self, app: Any, tables: Any, owners: PartitionOwners, topics: frozenset[str], **options: Any) -> None:
        self._owners = owners
        self._topics = topics
        self._assigned: frozenset[TopicPartition] = frozenset()
        super().__init__(app, tables, **options)

    def on_partitions_revoked(self, revoked: set[TP]) -> None:  # noqa: ARG002
        self._owners.revoke_all()

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],  # noqa: ARG002
        newly_assigned: set[TP],  # noqa: ARG002
        generation_id: int = 0,
    ) -> None:
        if generation_id != self.app.consumer_generation_id:
            return
        self._assigned = frozenset(TopicPartition(*tp) for tp in assigned if tp.topic in self._topics)
        self._generation_id = generation_id
        self.signal_recovery_start.set()

    async def on_stop(self) -> None:
        await self._owners.stop()

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start.wait()):
                break
            self.signal_recovery_start.clear()
            generation = self._generation_id
            try:
                await self._wait(self._owners.open(self._assigned, generation))
                await self._resume_streams(generation_id=generation)
            except (RebalanceAgain, IllegalStateError):
                continue
            except ServiceStopped:
                break
            except asyncio.CancelledError as error:
                if is_cancelled():
                    break
                # Faust would take it for the end of this task: the partitions would stay, and be read by nobody.
                raise RuntimeError("opening partitions was cancelled by what it waited for") from error


def owner_tables(owners: PartitionOwners, topics: Iterable[str]) -> type[TableManager]:
    """A table manager for `new_app` whose partitions of these topics are those of `owners`."""
    return tables_with(partial(OwnershipLoader, owners=owners, topics=frozenset(topics)))
