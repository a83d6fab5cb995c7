"""How checks are run: side by side, in bounded time, in order, and not where their ground has given way."""

import asyncio
from collections.abc import Sequence

import pytest

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from cli.doctor.registry import ALL_CHECKS
from cli.doctor.running import Check, Surroundings, run_checks
from schemas.errors import RetryLater
from schemas.settings import Settings
from tests.unit.cli.test_doctor_rules import NOW

SURROUNDINGS = Surroundings(Settings(), lambda: NOW, timeout_s=0.05)


def check(name: str, *findings: Finding, needs: tuple[str, ...] = ()) -> Check:
    async def probe(_: Surroundings) -> Sequence[Finding]:
        return findings

    return Check(name, probe, "advice", needs)


async def found(*checks: Check) -> dict[str, tuple[Finding, ...]]:
    return {result.check: result.findings async for result in run_checks(checks, SURROUNDINGS)}


async def test_what_needs_a_failed_check_is_skipped_and_what_needs_that_too() -> None:
    bad = failed("x", "y")
    results = await found(
        check("a", bad), check("b", ok("z"), needs=("a",)), check("c", needs=("b",)), check("d", ok("z"))
    )
    assert results == {"a": (bad,), "b": (skipped("needs a"),), "c": (skipped("needs b"),), "d": (ok("z"),)}


async def test_a_warning_does_not_keep_others_from_their_work() -> None:
    results = await found(check("a", warning("x", "y")), check("b", ok("z"), needs=("a",)))
    assert results["b"] == (ok("z"),)


async def test_a_check_without_an_answer_fails_with_its_advice_and_holds_up_no_other() -> None:
    async def never(_: Surroundings) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return ()

    results = await found(Check("a", never, "advice"), check("b", ok("z")))
    assert results == {"a": (failed("no answer within 0.05 s", "advice"),), "b": (ok("z"),)}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RetryLater("the broker is away"), "the broker is away"),
        (ConnectionRefusedError("postgresql://memo:secret@db"), "ConnectionRefusedError"),
    ],
)
async def test_an_error_from_outside_is_a_finding_that_quotes_no_driver(error: Exception, text: str) -> None:
    async def refuses(_: Surroundings) -> Sequence[Finding]:
        raise error

    assert await found(Check("a", refuses, "advice")) == {"a": (failed(text, "advice"),)}


async def test_a_defect_of_ours_is_not_hidden_in_a_finding() -> None:
    async def breaks(_: Surroundings) -> Sequence[Finding]:
        raise KeyError("nobody expected this")

    with pytest.raises(KeyError):
        await found(Check("a", breaks, "advice"))


def test_every_check_has_a_name_of_its_own_and_needs_only_what_comes_before_it() -> None:
    seen: set[str] = set()
    for each in ALL_CHECKS:
        assert each.name not in seen
        assert set(each.needs) <= seen
        seen.add(each.name)
