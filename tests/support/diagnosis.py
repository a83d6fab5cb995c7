"""What `memostream doctor` says, as tests look at it."""

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.support.command_line import CommandLine


@dataclass(frozen=True)
class Fault:
    """A finding that is not well."""

    check: str
    level: str
    found: str
    fix: str


async def findings(shell: CommandLine, *options: str, fails: bool = False) -> list[dict[str, Any]]:
    document = await asyncio.to_thread(shell.document, "doctor", *options, fails=fails)
    found: list[dict[str, Any]] = document["findings"]
    return found


async def faults(shell: CommandLine, *options: str, fails: bool = False) -> list[Fault]:
    """Everything that is not well, without what was skipped; no model is asked unless `options` say otherwise."""
    return [
        Fault(entry["check"], entry["level"], entry["found"], entry["fix"])
        for entry in await findings(shell, *(options or ("--no-model",)), fails=fails)
        if entry["level"] in ("warning", "failed")
    ]


async def only_fault(shell: CommandLine, *options: str, level: str = "failed") -> Fault:
    """The one fault there is, of this level; the exit code is what the level asks for."""
    found = await faults(shell, *options, fails=level == "failed")
    assert [fault.level for fault in found] == [level], found
    return found[0]
