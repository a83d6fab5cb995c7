"""Dead letters for a person or a script; what they say is only shown when it is asked for."""

from collections.abc import Mapping
from typing import Any

import orjson
from rich.text import Text

from cli.console import note, out, plain_table, print_json, printable
from cli.dead_letter_rules import Letter, counted
from cli.dead_letters import Found, Outcome

SHOWN_REFUSALS = 5


def print_letters(found: Found) -> None:
    if found.letters:
        table = plain_table("place", "sent first", "user", "reason", "times", "status", "detail")
        for letter in found.letters:
            first = letter.first
            table.add_row(
                letter.place,
                printable(f"{first.topic}/{first.partition}/{first.offset}"),
                printable(_user(letter)),
                letter.reason,
                f"{letter.times}",
                letter.status,
                printable(letter.detail),
            )
        out().print(table)
    else:
        out().print("no dead letter is open")
    if found.done and all(letter.status == "open" for letter in found.letters):
        note(f"done: {_counts(found.done)}; --all shows them")


def letter_document(letter: Letter) -> dict[str, Any]:
    """A letter for a script, without what it says."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "first": letter.first.model_dump(),
        "source": letter.source.model_dump(),
        "project_id": letter.project_id,
        "user_id": letter.user_id,
        "blob_ids": [blob_id for _, _, blob_id in letter.blobs],
        "stage": letter.stage,
        "reason": letter.reason,
        "detail": letter.detail,
        "times": letter.times,
        "status": letter.status,
    }


def print_letter(letter: Letter, *, as_json: bool) -> None:
    """All of a letter: its headers and its value."""
    headers = {name: None if value is None else value.decode("utf-8", "replace") for name, value in letter.headers}
    key = None if letter.key is None else letter.key.decode("utf-8", "replace")
    value = _value(letter.value)
    if as_json:
        print_json({**letter_document(letter), "key": key, "headers": headers, "value": value})
        return
    console = out()
    console.print(Text.assemble((letter.place, "bold"), f"  {letter.reason}: {printable(letter.detail)}"))
    console.print(Text(f"status {letter.status}, {letter.times} times, key {printable(key or 'none')}", "dim"))
    for name, header in headers.items():
        console.print(Text.assemble((f"  {printable(name)}: ", "cyan"), printable(header or "")))
    shown = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    console.print("\n".join(printable(line) for line in shown.splitlines()))


def print_outcome(outcome: Outcome, *, done: str, would: str, executed: bool, as_json: bool) -> None:
    """What was done, or would be done with `--execute`."""
    if as_json:
        print_json(
            {
                "executed": executed,
                "letters": len(outcome.taken),
                "reasons": counted(outcome.taken),
                "refused": [{"place": letter.place, "why": why} for letter, why in outcome.refused],
            }
        )
        return
    reasons = f" ({_counts(counted(outcome.taken))})" if outcome.taken else ""
    noun = "dead letter" if len(outcome.taken) == 1 else "dead letters"
    out().print(f"{done if executed else would} {len(outcome.taken):,} {noun}{reasons}")
    for letter, why in outcome.refused[:SHOWN_REFUSALS]:
        note(f"not {letter.place}: {why}")
    if len(outcome.refused) > SHOWN_REFUSALS:
        note(f"and {len(outcome.refused) - SHOWN_REFUSALS:,} more")
    if not executed and outcome.taken:
        note("this was a dry run; --execute does it")


def _user(letter: Letter) -> str:
    if letter.user_id is None:
        return "?"
    return letter.user_id if letter.project_id == "default" else f"{letter.project_id}/{letter.user_id}"


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _value(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode("utf-8", "replace")
