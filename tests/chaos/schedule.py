"""Which fault comes when: drawn from a seed, a value like any other. Pure."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Category = Literal["worker", "broker", "database", "model", "input", "storage"]

# Between any two steps of a record's way; a worker dies there when its turn has come (worker.py).
BOUNDARIES: Final = (
    "after-poll",
    "before-kafka-commit",
    "after-kafka-commit",
    "after-store-write",
    "after-fencing",
    "before-postgres-commit",
    "after-postgres-commit",
    "before-relay-send",
    "before-relay-commit",
    "after-relay-commit",
    "after-relay-delete",
)
# What a worker's next commit to Postgres meets (worker.py).
COMMIT_ERRORS: Final = ("commit-refused", "commit-answer-lost")

SINGLE_BROKER_KILL: Final = "single-broker-kill"

_CATEGORIES: Final[Mapping[Category, tuple[str, ...]]] = {
    "worker": ("kill", *(f"kill-{boundary}" for boundary in BOUNDARIES), "sigterm", "storm", "freeze"),
    "broker": ("broker-kill", "broker-stop", "controller-kill", "changelog-leader-kill", SINGLE_BROKER_KILL),
    "database": (
        "postgres-kill",
        "postgres-restart",
        "connection-cut",
        "deadlock",
        "serialization-failure",
        *COMMIT_ERRORS,
        "pool-exhausted",
    ),
    "model": (
        "model-timeout",
        "model-429",
        "model-5xx",
        "model-connection-cut",
        "model-connection-refused",
        "model-invalid-replies",
        "model-hour-outage",
    ),
    "input": (
        "duplicates",
        "aborted-transactions",
        "clock-jumps",
        "hot-user",
        "poison-records",
        "poison-content",
        "large-records",
    ),
    "storage": ("store-deleted", "store-corrupted", "store-older-copy", "store-days-old"),
}
CATEGORY_OF: Final[Mapping[str, Category]] = {
    kind: category for category, kinds in _CATEGORIES.items() for kind in kinds
}
KINDS: Final = tuple(CATEGORY_OF)
NEEDS_A_CLUSTER: Final = frozenset({"broker-kill", "broker-stop", "controller-kill", "changelog-leader-kill"})
# Half a minute each.
SLOW: Final = frozenset({"model-hour-outage", "storm"})
PAIRED_SHARE: Final = 0.15
# Waited for by the worker that comes there next: set before the records come that bring one.
WAITING: Final = frozenset({*(f"kill-{boundary}" for boundary in BOUNDARIES), *COMMIT_ERRORS})
# Of records and faults, what meets a single broker; and of the faults there, how often it is killed.
SINGLE_SHARE: Final = 0.15
SINGLE_KILL_SHARE: Final = 0.34
CLUSTER_BROKERS: Final = 3
WORKERS: Final = 3
USERS: Final = 60
# In the tests, where a minute must do: a death in each stage, and twisted input beside.
SHORT_STEPS: Final = (
    ("kill-after-kafka-commit", "duplicates"),
    ("kill-before-postgres-commit", "aborted-transactions"),
    ("kill-before-relay-commit", "poison-records"),
    ("postgres-kill", "clock-jumps"),
    (SINGLE_BROKER_KILL,),
)
SHORT_CHUNK: Final = 200
# So few that each closes a window in every step.
SHORT_USERS: Final = 10
SHORT_WORKERS: Final = 2


@dataclass(frozen=True, slots=True)
class Step:
    """Faults that come together, once `at_record` records were sent; `chunk` more are sent meanwhile."""

    number: int
    at_record: int
    chunk: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One cluster, its workers, and the steps that they go through."""

    name: str
    brokers: int
    workers: int
    users: int
    steps: tuple[Step, ...]


def full_run(seed: int, records: int, faults: int, only: Sequence[str] = ()) -> list[Part]:
    """Most of the records and faults meet a cluster, the others a single broker."""
    random_ = random.Random(seed)
    wanted = [kind for kind in KINDS if not only or kind in only]
    clustered = [kind for kind in wanted if kind != SINGLE_BROKER_KILL]
    single = [kind for kind in wanted if kind not in NEEDS_A_CLUSTER]
    single_faults = (faults if not clustered else round(faults * SINGLE_SHARE)) if SINGLE_BROKER_KILL in wanted else 0
    drawn = draw(random_, clustered, faults - single_faults)
    others = [kind for kind in single if kind != SINGLE_BROKER_KILL]
    kills = single_faults if not others else math.ceil(single_faults * SINGLE_KILL_SHARE)
    alone = [SINGLE_BROKER_KILL] * kills + draw(random_, others, single_faults - kills)
    random_.shuffle(alone)
    single_records = records * single_faults // faults
    parts = [
        Part("cluster", CLUSTER_BROKERS, WORKERS, USERS, steps(random_, drawn, records - single_records)),
        Part("single", 1, WORKERS, USERS, steps(random_, alone, single_records)),
    ]
    return [part for part in parts if part.steps]


def short_run(seed: int) -> list[Part]:
    """A single broker and two workers; the seed chooses the records, the workers and the moments."""
    plan = tuple(Step(number, number * SHORT_CHUNK, SHORT_CHUNK, faults) for number, faults in enumerate(SHORT_STEPS))
    return [Part("single", 1, SHORT_WORKERS, SHORT_USERS, plan)]


def draw(random_: random.Random, kinds: Sequence[str], faults: int) -> list[str]:
    """So many faults, every kind before any comes again; slow ones once."""
    drawn: list[str] = []
    while kinds and len(drawn) < faults:
        again = [kind for kind in kinds if kind not in SLOW or kind not in drawn]
        random_.shuffle(again)
        drawn += again[: faults - len(drawn)]
    random_.shuffle(drawn)
    return drawn


def steps(random_: random.Random, faults: Iterable[str], records: int) -> tuple[Step, ...]:
    """The faults in their order over the records, some of them two at a time, of different categories."""
    groups: list[tuple[str, ...]] = []
    for fault in faults:
        last = groups[-1] if groups else ()
        fits = len(last) == 1 and CATEGORY_OF[last[0]] != CATEGORY_OF[fault]
        if fits and random_.random() < PAIRED_SHARE:
            groups[-1] = (*last, fault)
        else:
            groups.append((fault,))
    if not groups:
        return ()
    places = [records * number // len(groups) for number in range(len(groups) + 1)]
    return tuple(
        Step(number, places[number], places[number + 1] - places[number], group) for number, group in enumerate(groups)
    )
