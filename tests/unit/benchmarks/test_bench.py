"""What `make bench` makes of its rounds."""

import asyncio
import os

import pytest

from benchmarks.__main__ import details_of, ratio_of
from benchmarks.buffer_stage import Measurement
from benchmarks.own_process import in_own_process


def measurement(seconds: float, cpu_s: float = 1.0, llm_calls: int = 0) -> Measurement:
    return Measurement(records=2000, seconds=seconds, cpu_s=cpu_s, rss_mib=100.0, llm_calls=llm_calls)


def test_a_ratio_is_the_median_of_the_rounds_not_of_the_rates() -> None:
    idle = [measurement(1.0), measurement(10.0), measurement(2.0)]
    stage = [measurement(2.0), measurement(20.0), measurement(2.5)]
    assert ratio_of(stage, idle) == pytest.approx(0.5)


def test_cpu_and_model_calls_are_told_for_a_thousand_records() -> None:
    details = details_of([measurement(4.0, cpu_s=3.0, llm_calls=10)])
    assert details == {
        "records_per_s_of_rounds": [500.0],
        "cpu_s_per_1000_records": 1.5,
        "rss_mib": 100.0,
        "llm_calls_per_1000_records": 5.0,
    }


async def _where_it_runs() -> tuple[int, str]:
    return os.getpid(), type(asyncio.get_running_loop()).__module__


async def test_a_measurement_has_a_process_of_its_own_on_uvloop() -> None:
    pid, loop_module = await in_own_process(_where_it_runs)
    assert pid != os.getpid()
    assert loop_module == "uvloop"
