"""Attacks memostream from a seed, prints a table, and ends with 1 if anything is lost, doubled or out of order."""

import argparse
import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.chaos.conductor import PartResult, run_part
from tests.chaos.schedule import KINDS, Part, full_run, short_run
from tests.chaos.table import table

RECORDS = 200_000
FAULTS = 100


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="memostream-chaos-"))
    # What clients say of brokers that are away is their daily business here.
    logging.basicConfig(filename=os.devnull)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"seed {seed}; logs and data are in {folder}")
    if options.short:
        parts = short_run(seed)
    else:
        parts = full_run(seed, options.records, options.faults, options.only or ())
    results = asyncio.run(_run([part for part in parts if options.part in (None, part.name)], folder, seed, console))
    console.print(table(results))
    is_clean = all(result.is_clean for result in results)
    console.print(f"seed {seed}: {'clean' if is_clean else f'NOT CLEAN, see {folder}'}")
    return 0 if is_clean else 1


async def _run(parts: Sequence[Part], folder: Path, seed: int, console: Console) -> list[PartResult]:
    begun = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - begun:7.1f} s  {line}")

    results = []
    for part in parts:
        results.append(await run_part(part, folder / part.name, seed, say))
        say(f"{part.name}: {'clean' if results[-1].is_clean else 'NOT CLEAN'}")
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats the schedule and the records of a run; drawn if left out")
    parser.add_argument("--records", type=int, default=RECORDS, help="records that are sent")
    parser.add_argument("--faults", type=int, default=FAULTS, help="faults that are done")
    parser.add_argument(
        "--only",
        action="append",
        choices=KINDS,
        metavar="KIND",
        help=f"only these, may be repeated: {', '.join(KINDS)}",
    )
    parser.add_argument("--part", choices=("cluster", "single"), help="only the steps that meet this")
    parser.add_argument("--short", action="store_true", help="the part that the tests run")
    parser.add_argument("--folder", type=Path, help="a new folder for logs and data; a temporary one if left out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
