"""The short part of `make chaos`: two workers, a broker and a database of their own, killed at some of the steps."""

from pathlib import Path

import pytest

from tests.chaos.conductor import run_part
from tests.chaos.schedule import SHORT_STEPS, short_run
from tests.chaos.table import table

# `make chaos ARGS="--short --seed 1"` is the same outside the tests.
SEED = 1

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


async def test_nothing_is_lost_or_doubled_or_out_of_order_while_everything_is_killed(service_folder: Path) -> None:
    said: list[str] = []
    (part,) = short_run(SEED)
    result = await run_part(part, service_folder / "chaos", SEED, said.append)
    report = "\n".join([*said, table([result])])
    assert result.failure is None, report
    assert result.verdict is not None, report
    assert result.verdict.wrong == {}, report
    assert result.verdict.unfinished == 0, report
    assert sorted(one.kind for one in result.observed if one.reached) == sorted(
        fault for step in SHORT_STEPS for fault in step
    )
