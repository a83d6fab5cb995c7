"""A process that is told to stop ends within its limit, whatever hangs; told twice, at once."""

import json
import signal
import subprocess
import sys
import textwrap

import pytest

from cli.running import INTERRUPTED, STOP_OVERDUE
from tests.support.documents import ROOT

PROGRAM = """
import asyncio, sys, threading, time
from cli.running import StopLimit, run_until_stopped
from schemas.settings import WorkerSettings
from streams.logs import configure_logging

configure_logging(WorkerSettings(log_format="json"))

async def work(stop):
    print("ready", flush=True)
{work}
    return 0

sys.exit(run_until_stopped(work, StopLimit({limit_s}, lambda: ["relay"])))
"""
WAITS = "await stop.wait()"
# Not in one sleep: a signal that comes just before that is seen after it.
BLOCKS_THE_LOOP = "await stop.wait(); print('hangs', flush=True); [time.sleep(0.1) for _ in range(600)]"
LEAVES_A_THREAD = "await stop.wait(); threading.Thread(target=time.sleep, args=[60]).start()"
STOPS_ITSELF_AND_HANGS = "stop.set(); await asyncio.sleep(0.01); time.sleep(60)"
NEVER_S = 60.0


def started(work: str, limit_s: float) -> "subprocess.Popen[str]":
    code = PROGRAM.format(work=textwrap.indent(work, "    "), limit_s=limit_s)
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: "subprocess.Popen[str]") -> tuple[int, list[dict[str, object]]]:
    """Its exit code and what it logged."""
    _, errors = process.communicate(timeout=NEVER_S / 2)
    return process.returncode, [json.loads(line) for line in errors.splitlines()]


@pytest.mark.parametrize("work", [BLOCKS_THE_LOOP, LEAVES_A_THREAD])
def test_what_hangs_after_a_signal_is_ended_by_the_limit_and_the_log_says_what_was_left(work: str) -> None:
    process = started(work, 0.2)
    process.send_signal(signal.SIGTERM)
    code, (line,) = ended(process)
    assert code == STOP_OVERDUE
    assert (line["event"], line["left"]) == ("process.stop_overdue", ["relay"])


def test_the_limit_counts_too_where_the_work_stops_itself() -> None:
    code, (line,) = ended(started(STOPS_ITSELF_AND_HANGS, 0.2))
    assert code == STOP_OVERDUE
    assert line["event"] == "process.stop_overdue"


def test_a_second_signal_ends_it_at_once_though_the_loop_hangs() -> None:
    process = started(BLOCKS_THE_LOOP, NEVER_S)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    process.send_signal(signal.SIGTERM)
    code, (line,) = ended(process)
    assert code == INTERRUPTED
    assert (line["event"], line["left"]) == ("process.stopped_at_once", ["relay"])


def test_what_stops_in_time_ends_with_its_own_code() -> None:
    process = started(WAITS, NEVER_S)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, [])
