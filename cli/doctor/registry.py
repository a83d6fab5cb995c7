"""All checks in the order of the report, and the one that comes before them: whether there is a configuration."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from cli.doctor import broker, database, groups, local, model, topics
from cli.doctor.findings import Finding, Result, failed, skipped, unless_faulty, warning
from cli.doctor.running import Check, Surroundings, run_checks
from schemas.errors import ConfigurationError
from schemas.settings import Settings

CONFIGURATION: Final = "configuration"
ALL_CHECKS: Final[tuple[Check, ...]] = (
    *local.CHECKS,
    *broker.CHECKS,
    *topics.CHECKS,
    *groups.CHECKS,
    *database.CHECKS,
    *model.CHECKS,
)
MODEL_CHECKS: Final = frozenset(check.name for check in model.CHECKS)


async def diagnose(
    load: Callable[[], Settings],
    *,
    timeout_s: float,
    ask_models: bool,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[Result]:
    """The result of every check, in order; `load` reads the settings and raises ConfigurationError."""
    try:
        settings = load()
    except ConfigurationError as error:
        yield Result(CONFIGURATION, (judge_configuration(error),))
        for check in ALL_CHECKS:
            yield Result(check.name, (skipped(f"needs {CONFIGURATION}"),))
        return
    yield Result(CONFIGURATION, tuple(judge_settings(settings)))
    surroundings = Surroundings(settings, now, timeout_s)
    chosen = [check for check in ALL_CHECKS if ask_models or check.name not in MODEL_CHECKS]
    async for result in run_checks(chosen, surroundings):
        yield result
    if not ask_models:
        for name in sorted(MODEL_CHECKS, reverse=True):
            yield Result(name, (skipped("not asked for (--no-model)"),))


def judge_configuration(error: ConfigurationError) -> Finding:
    return failed(
        str(error).removeprefix("configuration: "), "correct what is named; docs/reference/configuration.md lists all"
    )


def judge_settings(settings: Settings) -> Sequence[Finding]:
    """What was set, by section, and what of it changes nothing; no values, for some are secret."""
    named = [name for name in type(settings).model_fields if getattr(settings, name).model_fields_set]
    idle = [warning(sentence, "remove it, unless it waits for a later version") for sentence in settings.without_effect]
    return unless_faulty(idle, f"set: {', '.join(named)}" if named else "all defaults")
