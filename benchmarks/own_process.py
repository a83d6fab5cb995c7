"""Measurements in processes of their own: what each holds and uses is its own, and none warms up another."""

import asyncio
import logging
import multiprocessing
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import uvloop

from cli.running import collect_less_often

T = TypeVar("T")


async def in_own_process(measure: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await `measure()` as a worker is run, but in a new process; `measure` and what it returns must be picklable."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, _run, measure)


def _run(measure: Callable[[], Coroutine[Any, Any, T]]) -> T:
    # Faust and aiokafka tell of every rebalance and of a coordinator that is not up yet.
    logging.disable(logging.ERROR)
    collect_less_often()
    return uvloop.run(measure())
