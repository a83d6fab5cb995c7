"""The schedule of an attack is a value drawn from its seed."""

import random
from collections import Counter

import pytest

from tests.chaos.faults.acting import ACTS
from tests.chaos.schedule import (
    CATEGORY_OF,
    KINDS,
    NEEDS_A_CLUSTER,
    SINGLE_BROKER_KILL,
    SLOW,
    draw,
    full_run,
    short_run,
    steps,
)


def faults_of(seed: int, records: int = 200_000, faults: int = 100) -> list[str]:
    return [fault for part in full_run(seed, records, faults) for step in part.steps for fault in step.faults]


def test_every_kind_can_be_done() -> None:
    assert set(ACTS) == set(KINDS)


@pytest.mark.parametrize("seed", range(20))
def test_a_full_run_has_every_kind_and_as_many_faults_as_asked_for(seed: int) -> None:
    assert set(faults_of(seed)) == set(KINDS)
    assert len(faults_of(seed)) == 100
    assert len(faults_of(seed, 500_000, 200)) == 200


def test_the_same_seed_gives_the_same_run_and_another_gives_another() -> None:
    assert full_run(7, 200_000, 100) == full_run(7, 200_000, 100)
    assert short_run(7) == short_run(7)
    assert faults_of(7) != faults_of(8)


@pytest.mark.parametrize("seed", range(20))
def test_the_steps_send_all_records_one_after_the_other(seed: int) -> None:
    parts = full_run(seed, 200_000, 100)
    assert sum(step.chunk for part in parts for step in part.steps) == 200_000
    for part in parts:
        at = 0
        for number, step in enumerate(part.steps):
            assert (step.number, step.at_record) == (number, at)
            at += step.chunk


@pytest.mark.parametrize("seed", range(20))
def test_a_single_broker_meets_nothing_that_needs_three_and_a_cluster_is_never_lost_whole(seed: int) -> None:
    cluster, single = full_run(seed, 200_000, 100)
    assert (cluster.brokers, single.brokers) == (3, 1)
    assert SINGLE_BROKER_KILL not in {fault for step in cluster.steps for fault in step.faults}
    assert not NEEDS_A_CLUSTER & {fault for step in single.steps for fault in step.faults}


def test_faults_that_come_together_are_of_different_categories() -> None:
    pairs = [step.faults for part in full_run(3, 200_000, 100) for step in part.steps if len(step.faults) > 1]
    assert pairs
    assert all(len({CATEGORY_OF[fault] for fault in pair}) == len(pair) for pair in pairs)


def test_no_kind_comes_twice_before_each_has_come_and_slow_ones_come_once() -> None:
    drawn = Counter(draw(random.Random(1), KINDS, 3 * len(KINDS)))
    assert all(drawn[kind] == 1 for kind in SLOW)
    assert max(drawn.values()) - min(count for kind, count in drawn.items() if kind not in SLOW) <= 1


def test_only_the_kinds_that_were_asked_for_are_done() -> None:
    parts = full_run(1, 1000, 5, only=["freeze"])
    assert [part.name for part in parts] == ["cluster"]
    assert {fault for step in parts[0].steps for fault in step.faults} == {"freeze"}
    parts = full_run(1, 1000, 5, only=[SINGLE_BROKER_KILL])
    assert [(part.name, part.brokers) for part in parts] == [("single", 1)]


def test_nothing_to_do_is_no_step() -> None:
    assert steps(random.Random(1), [], 1000) == ()
