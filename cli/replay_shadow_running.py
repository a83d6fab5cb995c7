"""`memostream replay run --into shadow`: makes the shadow, or joins it, and works for it until it is told to stop."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import typer

from cli.console import note
from cli.replay_costs import check_cost, check_spent
from cli.replay_range import ReplayRange
from cli.replay_shadow import allow_cost, find_shadow, identity_of, make_shadow, plan_shadow, work_for
from cli.replay_shadow_view import print_shadow_plan
from cli.running import StopLimit, run_until_stopped
from schemas.errors import ConfigurationError
from schemas.memory import ExtractorIdentity
from schemas.settings import Settings
from storage.shadows import Shadow
from streams.shadow_topics import check_name
from streams.stopping import Parts, stop_limit_s


def into_shadow(
    settings: Settings,
    name: str | None,
    wanted: Callable[[], ReplayRange] | None,
    max_cost: Decimal | None,
    *,
    rate_per_s: float | None,
    execute: bool,
    as_json: bool,
) -> None:
    """Plan, and with `execute` make and run; `wanted` is None where no range is said, to join one that is there.

    Raises ConfigurationError, and typer.Exit with the worker's code.
    """
    if name is None:
        raise ConfigurationError("--into shadow needs --shadow NAME, by which the other commands find it")
    check_name(name)
    shadow = asyncio.run(find_shadow(settings, name))
    if shadow is None or shadow.state == "creating":
        shadow = _made(settings, name, wanted, max_cost, execute=execute, as_json=as_json)
        if shadow is None:
            return
    else:
        _check_joinable(shadow, asyncio.run(identity_of(settings)), says_range=wanted is not None)
        if not execute:
            note(f"shadow {name} is there already: --execute works for it, `replay status {name}` shows it")
            return
        if max_cost is not None:
            asyncio.run(allow_cost(settings, shadow, max_cost))
    parts = Parts()
    limit = StopLimit(stop_limit_s(settings.worker), lambda: parts.running)
    raise typer.Exit(run_until_stopped(lambda stop: work_for(settings, shadow, rate_per_s, stop, parts), limit))


def _made(
    settings: Settings,
    name: str,
    wanted: Callable[[], ReplayRange] | None,
    max_cost: Decimal | None,
    *,
    execute: bool,
    as_json: bool,
) -> Shadow | None:
    if wanted is None:
        raise ConfigurationError(f"shadow {name} is not made yet: say where its range begins, as with --to-earliest")
    if max_cost is not None:
        check_spent(Decimal(0), max_cost, settings.prices.currency)
    plan = asyncio.run(plan_shadow(settings, wanted(), quiet=as_json))
    check_cost(plan.expected, max_cost, settings.prices.currency)
    shadow = asyncio.run(make_shadow(settings, name, plan, max_cost)) if execute else None
    print_shadow_plan(plan, name, settings.prices.currency, as_json=as_json, executed=execute)
    return shadow


def _check_joinable(shadow: Shadow, extractor: ExtractorIdentity, *, says_range: bool) -> None:
    if says_range:
        raise ConfigurationError(
            f"shadow {shadow.name} has its range already: leave range, --user and --project out to work for it, or "
            "choose another name"
        )
    if extractor != shadow.extractor:
        raise ConfigurationError(
            f"shadow {shadow.name} is extracted by {shadow.extractor}, this configuration by {extractor}: run it with "
            "the configuration that it was made with, or make another shadow"
        )
    if shadow.state == "promoted":
        raise ConfigurationError(f"shadow {shadow.name} is promoted: `replay discard` removes what is left of it")
