"""Runs checks side by side, each in bounded time, and leaves out those whose ground has given way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import openai
from aiokafka.errors import KafkaError
from asyncpg import InterfaceError, PostgresError
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.findings import Finding, Result, failed, skipped
from schemas.errors import MemostreamError
from schemas.settings import Settings

# What libraries raise when the other side is not as it should be; any other error is a defect of ours.
_FROM_OUTSIDE = (OSError, TimeoutError, KafkaError, SQLAlchemyError, PostgresError, InterfaceError, openai.OpenAIError)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What checks look at. `now` is this machine's clock; `timeout_s` bounds one check."""

    settings: Settings
    now: Callable[[], datetime]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Check:
    """`needs` names checks that must have found no fault first; `advice` is for a probe that got no answer at all."""

    name: str
    probe: Callable[[Surroundings], Awaitable[Sequence[Finding]]]
    advice: str
    needs: tuple[str, ...] = ()


async def run_checks(checks: Sequence[Check], surroundings: Surroundings) -> AsyncIterator[Result]:
    """Results in the order of `checks`, each as soon as it and those before it are there."""
    running: dict[str, asyncio.Task[Result]] = {}
    try:
        for check in checks:
            needed = {name: running[name] for name in check.needs}
            running[check.name] = asyncio.create_task(_after(needed, check, surroundings))
        for task in list(running.values()):
            yield await task
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


async def _after(needed: Mapping[str, "asyncio.Task[Result]"], check: Check, surroundings: Surroundings) -> Result:
    for name, task in needed.items():
        if (await asyncio.shield(task)).blocks:
            return Result(check.name, (skipped(f"needs {name}"),))
    return Result(check.name, tuple(await _bounded(check, surroundings)))


async def _bounded(check: Check, surroundings: Surroundings) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(surroundings.timeout_s):
            return await check.probe(surroundings)
    except TimeoutError:
        return [failed(f"no answer within {surroundings.timeout_s:g} s", check.advice)]
    except MemostreamError as error:
        return [failed(str(error), check.advice)]
    except _FROM_OUTSIDE as error:
        # The kind only: a driver's text may quote an address with a password.
        return [failed(type(error).__name__, check.advice)]
