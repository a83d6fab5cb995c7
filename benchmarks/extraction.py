"""`python -m benchmarks.extraction`: what windows cost in calls and prompt tokens, against a scripted model endpoint.
Writes benchmarks/out/extraction.json; exit code 1 where a limit does not hold."""

import argparse
import asyncio
import itertools
import json
import logging
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.extraction_script import FACTS, FILLED_SLOTS, RECORDS, Script, filled_profile
from benchmarks.shared_data import shared_file
from extraction.factory import create_extractor
from schemas.conversation import conversation_of
from schemas.policies import policy_of
from schemas.settings import Settings
from schemas.tokens import TokenCounter, token_counter
from schemas.windows import Window
from tests.support.expected_memory import windows_of
from tests.support.scripted_openai import Call, ScriptedOpenAI

RESULTS_FILE: Final = Path(__file__).with_name("out") / "extraction.json"
OWN_EXAMPLES: Final = Path(__file__).parents[1] / "cli" / "examples" / "conversations.jsonl"
DIMENSION: Final = 1536
# By tokens at which a window closes: what the prompts of a usual one may have in sum.
MOST_TOKENS: Final = {1024: 3300, 8192: 12_000}
MOST_FIXED_TOKENS: Final = 1500
MOST_COMPLETIONS: Final = 2
MOST_EMBEDDING_CALLS: Final = 1
PACKAGES: Final = ("openai", "pydantic", "numpy")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one window; `fixed_tokens` are system prompts and schemas, which are the same in every call of a step."""

    conversation_tokens: int
    completions: int
    embedding_calls: int
    fixed_tokens: int
    schema_tokens: int
    prompt_tokens: int
    facts: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extraction", description=__doc__)
    parser.add_argument(
        "--records", type=Path, default=shared_file("data/personachat-en.jsonl") or OWN_EXAMPLES, help="JSON lines"
    )
    parser.add_argument("--tokenizer", choices=["auto", "estimate", "tiktoken"], default="auto")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    lines = records_of(options.records)
    warnings: list[str] = []
    count = token_counter(options.tokenizer, warnings.append)
    is_estimate = bool(warnings) or options.tokenizer == "estimate"
    counter = "estimate (a token for 3 ASCII characters, one for any other)" if is_estimate else "o200k_base"
    machine = _machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{len(lines):,} records of {options.records.name}; tokens counted by: {counter}")
    print(f"{FACTS} facts in sum, half of them on slots that are filled; profiles have {FILLED_SLOTS} filled slots")
    if options.records == OWN_EXAMPLES:
        print("no file of records was found, so these are the project's own examples, again and again")
    results = {size: asyncio.run(measure(lines, size, count)) for size in MOST_TOKENS}
    for size, costs in results.items():
        _show(size, costs)
    faults = [fault for size, costs in results.items() for fault in faults_of(size, costs)]
    document = {
        "benchmark": "extraction",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "records": len(lines),
        "tokenizer": counter,
        "filled_slots": FILLED_SLOTS,
        "facts": FACTS,
        "results": {str(size): [asdict(cost) for cost in costs] for size, costs in results.items()},
    }
    RESULTS_FILE.parent.mkdir(exist_ok=True)
    RESULTS_FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {RESULTS_FILE}")
    for fault in faults:
        print(f"benchmarks.extraction: {fault}", file=sys.stderr)
    return 1 if faults else 0


def records_of(path: Path) -> list[bytes]:
    """1,000 records as if one user had said them, so that windows close by their size."""
    own = [line for line in path.read_bytes().splitlines() if line.strip()]
    records = []
    for number, line in enumerate(itertools.islice(itertools.cycle(own), RECORDS)):
        record = orjson.loads(line)
        records.append(orjson.dumps({**record, "id": f"bench-{number}", "user_id": "bench"}))
    return records


async def measure(lines: Sequence[bytes], close_tokens: int, count: TokenCounter) -> list[Cost]:
    """The cost of each window that closed by its size."""
    script = Script()
    async with ScriptedOpenAI(script.answer, dimension=DIMENSION) as server:
        settings = Settings.model_validate(
            {
                "extraction": {"provider": "openai"},
                "llm": {"base_url": server.base_url},
                "buffer": {"max_chat_blob_buffer_token_size": close_tokens, "tokenizer": "estimate"},
            }
        )
        extractor, policy = create_extractor(settings), policy_of(settings)
        costs = []
        for window in windows_of(lines, settings.buffer):
            script.expect(len(window.units))
            profile = filled_profile()
            server.calls.clear()
            extraction = await extractor.extract(conversation_of(window.units), profile, policy)
            update = await extractor.merge(extraction, profile, policy)
            if len(update.changes) + len(update.dropped) < len(extraction.facts):
                raise RuntimeError("a fact came to nothing")
            if window.reason == "tokens":
                costs.append(_cost(window, server.calls, len(extraction.facts), count))
        await extractor.close()
    return costs


def _cost(window: Window, calls: Sequence[Call], facts: int, count: TokenCounter) -> Cost:
    chats = [call for call in calls if call.kind != "embed"]
    schemas = sum(count(_schema(call)) for call in chats)
    fixed = sum(count(call.body["messages"][0]["content"]) for call in chats) + schemas
    inputs = sum(count(message["content"]) for call in chats for message in call.body["messages"][1:])
    return Cost(
        conversation_tokens=sum(count(message.render()) for message in conversation_of(window.units)),
        completions=len(chats),
        embedding_calls=len(calls) - len(chats),
        fixed_tokens=fixed,
        schema_tokens=schemas,
        prompt_tokens=fixed + inputs,
        facts=facts,
    )


def _schema(call: Call) -> str:
    """What the model reads of the answer's form where it does not stand in the prompt itself."""
    asked = call.body.get("response_format", {}).get("json_schema", {}).get("schema")
    return "" if asked is None else json.dumps(asked, separators=(",", ":"))


def faults_of(size: int, costs: Sequence[Cost]) -> list[str]:
    """Which limits the windows of this size do not keep; a usual window is the mean of all."""
    means = {name: sum(values) / len(values) for name, values in _columns(costs).items()}
    return [
        f"{name} of a window of {size} tokens: {means[name]:.1f}, over {limit}"
        for name, limit in _limits(size).items()
        if means[name] > limit
    ]


def _show(size: int, costs: Sequence[Cost]) -> None:
    columns, limits = _columns(costs), _limits(size)
    conversation = sum(columns["conversation_tokens"])
    print(f"\n{f'{len(costs)} windows of {size:,} tokens':28}{'mean':>10}{'most':>10}{'limit':>10}{'per token':>12}")
    for name, values in columns.items():
        mean, limit = sum(values) / len(values), limits.get(name, "")
        print(f"{name:28}{mean:>10,.1f}{max(values):>10,}{limit:>10}{sum(values) / conversation:>12.4f}")


def _columns(costs: Sequence[Cost]) -> dict[str, list[int]]:
    return {field.name: [getattr(cost, field.name) for cost in costs] for field in fields(Cost)}


def _limits(size: int) -> dict[str, int]:
    return {
        "completions": MOST_COMPLETIONS,
        "embedding_calls": MOST_EMBEDDING_CALLS,
        "fixed_tokens": MOST_FIXED_TOKENS,
        "prompt_tokens": MOST_TOKENS[size],
    }


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count() or 0,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


if __name__ == "__main__":
    sys.exit(main())
