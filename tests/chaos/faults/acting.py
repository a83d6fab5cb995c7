"""Every kind of fault of the schedule, and how it is done."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from tests.chaos.arena import Arena
from tests.chaos.faults import of_brokers, of_database, of_model, of_storage, of_workers
from tests.chaos.schedule import BOUNDARIES, CATEGORY_OF, COMMIT_ERRORS, SINGLE_BROKER_KILL

# Does the fault and undoes it; says what there is to say of it.
Act = Callable[[Arena], Awaitable[str]]


async def with_the_load(_: Arena) -> str:
    """Faults of the input are in the records that are sent meanwhile."""
    return ""


ACTS: Final[Mapping[str, Act]] = {
    "kill": of_workers.kill,
    **{f"kill-{name}": partial(of_workers.at_boundary, name=name) for name in BOUNDARIES},
    "kill-after-fencing": partial(of_workers.at_takeover, name="after-fencing"),
    "sigterm": of_workers.sigterm,
    "storm": of_workers.storm,
    "freeze": of_workers.freeze,
    "broker-kill": of_brokers.kill,
    "broker-stop": of_brokers.stop,
    "controller-kill": of_brokers.kill_controller,
    "changelog-leader-kill": of_brokers.kill_changelog_leader,
    SINGLE_BROKER_KILL: of_brokers.kill,
    "postgres-kill": of_database.kill,
    "postgres-restart": of_database.restart,
    "connection-cut": of_database.cut,
    "deadlock": of_database.deadlock,
    "serialization-failure": of_database.serialization_failure,
    **{name: partial(of_workers.at_boundary, name=name) for name in COMMIT_ERRORS},
    "pool-exhausted": of_database.exhaust_pool,
    "model-timeout": of_model.time_out,
    "model-429": of_model.too_many_requests,
    "model-5xx": of_model.break_down,
    "model-connection-cut": of_model.cut,
    "model-connection-refused": of_model.refuse,
    "model-invalid-replies": of_model.babble,
    "model-hour-outage": of_model.outage,
    "store-deleted": of_storage.delete,
    "store-corrupted": of_storage.corrupt,
    "store-older-copy": of_storage.older_copy,
    "store-days-old": of_storage.days_old,
    **{kind: with_the_load for kind, category in CATEGORY_OF.items() if category == "input"},
}
