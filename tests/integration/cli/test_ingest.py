"""A backfill from files on a running system: dated when it was said, applied once, resumed where it was stopped."""

import asyncio
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from cli.ingest.state import SentState
from schemas.settings import StorageSettings
from storage.database import create_engine
from storage.profile_as_of import read_entries_as_of
from storage.recall import Clock
from streams.topics import Topics
from tests.support.buffer_worker import read_all
from tests.support.command_line import CommandLine
from tests.support.documents import ROOT

DEADLINE_S = 60.0
# Conversations that nobody here wrote, where the checkout has them.
PERSONACHAT = ROOT.parent / "shared" / "data" / "personachat-en.jsonl"
EXAMPLES = ROOT / "cli" / "examples" / "conversations.jsonl"
TALKERS = 6
SAID = {
    "2026-01-12T01:21:05Z": ("My name is Iris and I live in Bergen.", "Nice to meet you."),
    "2026-03-20T18:00:00Z": ("I moved to Oslo.", "How do you like it?"),
    "2026-06-05T07:30:00Z": ("I won a marathon.", "Congratulations!"),
}


def talk(user_id: str) -> list[dict[str, Any]]:
    return [
        {
            "user_id": user_id,
            "created_at": at,
            "session_id": f"session {number}",
            "blob_data": {
                "messages": [{"role": "user", "content": said}, {"role": "assistant", "content": answered}],
            },
        }
        for number, (at, (said, answered)) in enumerate(SAID.items())
    ]


def rows(user_id: str) -> list[dict[str, Any]]:
    return [
        {"user_id": user_id, "role": role, "content": content, "created_at": at, "session_id": at}
        for at, exchange in SAID.items()
        for role, content in zip(("user", "assistant"), exchange, strict=True)
    ]


def written(file: Path, documents: Sequence[dict[str, Any]]) -> str:
    file.write_bytes(b"".join(orjson.dumps(document) + b"\n" for document in documents))
    return file.name


def slots(profile: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What each slot holds, and when it was said."""
    return {
        f"{entry['topic']}/{entry['sub_topic']}": (entry["content"], moment(entry["occurred_at"]))
        for entry in profile["entries"]
    }


def moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat().replace("+00:00", "Z")


async def as_of(shell: CommandLine, user_id: str, at: str, clock: Clock, project_id: str = "default") -> dict[str, str]:
    engine = create_engine(StorageSettings(database_url=SecretStr(shell.database_url)))
    try:
        async with engine.connect() as connection:
            found = await read_entries_as_of(connection, project_id, user_id, datetime.fromisoformat(at), clock)
    finally:
        await engine.dispose()
    return {f"{entry.topic}/{entry.sub_topic}": entry.content for entry in found}


async def test_facts_events_and_changes_of_a_backfill_carry_the_time_at_which_they_were_said(
    working: CommandLine,
) -> None:
    january, march, june = SAID
    before = datetime.now(UTC) - timedelta(minutes=1)
    written(working.folder / "iris.jsonl", talk("iris"))
    assert working.document("ingest", "iris.jsonl")["sent"] == 3
    working.call("flush", "iris")

    assert slots(working.document("profile", "iris")) == {
        "basic_info/name": ("Iris", january),
        "contact_info/city": ("Oslo", march),
        "life_event/relocation": ("moved to Oslo", march),
        "life_event/achievements": ("won a marathon", june),
    }
    events = working.documents("events", "iris")
    assert {moment(event["occurred_at"]) for event in events} == {january, march, june}
    changes = working.documents("watch", "--from-beginning", "--user", "iris", "--limit", "8")
    assert {moment(change["value"]["after"]["occurred_at"]) for change in changes} == {january, march, june}

    # By the record's own time retention would delete it before it is read.
    sent = await read_all(working.kafka, Topics(working.kafka.topic_prefix).chat_messages)
    times_s = [record.timestamp / 1000 for record in sent if record.key == b"iris"]
    assert len(times_s) >= 3
    assert min(times_s) > before.timestamp()

    known = {
        at: await as_of(working, "iris", at, "occurred") for at in ("2026-01-01T00:00:00Z", "2026-02-15T00:00:00Z")
    }
    assert known == {
        "2026-01-01T00:00:00Z": {},
        "2026-02-15T00:00:00Z": {"basic_info/name": "Iris", "contact_info/city": "Bergen"},
    }
    spring = await as_of(working, "iris", "2026-04-01T00:00:00Z", "occurred")
    assert (spring["contact_info/city"], "life_event/achievements" in spring) == ("Oslo", False)
    assert await as_of(working, "iris", "2026-04-01T00:00:00Z", "recorded") == {}


def dialogs() -> tuple[list[dict[str, Any]], str]:
    """Records of some people who talked before a time and after it, and that time, months ago."""
    if PERSONACHAT.exists():
        lines, between = PERSONACHAT.read_bytes().splitlines(), "2026-01-18T00:00:00Z"
        records = [orjson.loads(line) for line in lines]
    else:
        records, between = [orjson.loads(line) for line in EXAMPLES.read_bytes().splitlines()], "2026-05-09T00:00:00Z"
        for record in records:
            said = datetime.fromisoformat(record["created_at"]) - timedelta(days=184)
            record["created_at"] = moment(said.isoformat())
    sides: dict[str, set[bool]] = {}
    for record in records:
        sides.setdefault(record["user_id"], set()).add(record["created_at"] < between)
    chosen = [user_id for user_id, found in sides.items() if len(found) == 2][:TALKERS]
    return [record for record in records if record["user_id"] in chosen], between


async def test_a_backfill_of_dialogs_is_dated_by_its_messages_and_as_of_a_day_between_is_what_had_been_said(
    working: CommandLine,
) -> None:
    records, between = dialogs()
    said_at = {record["id"]: record["created_at"] for record in records}
    session_of = {record["id"]: record["session_id"] for record in records}
    earlier = [record for record in records if record["created_at"] < between]
    for project, some in (("whole", records), ("earlier", earlier)):
        written(working.folder / f"{project}.jsonl", some)
        assert working.document("ingest", f"{project}.jsonl", "--project", project)["sent"] == len(some)
    working.call("flush", "--all")

    def sources(item: dict[str, Any]) -> list[str]:
        return [message_id.rpartition("/")[0] for message_id in item["message_ids"]]

    def times_of_session(event: dict[str, Any]) -> set[str]:
        sessions = {session_of[blob_id] for blob_id in sources(event)}
        return {said_at[blob_id] for blob_id, session in session_of.items() if session in sessions}

    grown = compared = 0
    for user_id in sorted({record["user_id"] for record in records}):
        entries = working.document("profile", user_id, "--project", "whole")["entries"]
        events = working.documents("events", user_id, "--project", "whole")
        assert events
        for entry in entries:
            assert moment(entry["occurred_at"]) == max(said_at[blob_id] for blob_id in sources(entry)), entry
        for event in events:
            assert moment(event["occurred_at"]) in times_of_session(event), event
        known = await as_of(working, user_id, between, "occurred", "whole")
        grown += len(entries) > len(known)
        if not known:
            # Of small talk nothing is remembered.
            working.call("profile", user_id, "--project", "earlier", fails=True)
            continue
        profile = working.document("profile", user_id, "--project", "earlier")["entries"]
        assert known == {f"{entry['topic']}/{entry['sub_topic']}": entry["content"] for entry in profile}, user_id
        compared += 1
    assert grown
    assert compared


def test_a_second_run_a_copy_and_another_format_of_the_same_rows_change_nothing(working: CommandLine) -> None:
    written(working.folder / "jon.jsonl", rows("jon"))
    written(working.folder / "copy.jsonl", [*rows("jon"), *rows("kai")])
    pq.write_table(pa.Table.from_pylist(rows("jon")), working.folder / "jon.parquet")
    working.call("ingest", "jon.jsonl")
    working.call("flush", "jon")
    profile, events = working.document("profile", "jon"), working.documents("events", "jon")
    start = working.document("audit")["counts"]
    for file in ("jon.jsonl", "copy.jsonl", "jon.parquet"):
        working.call("ingest", file)
    working.call("flush", "--all")
    assert working.document("profile", "jon") == profile
    assert working.documents("events", "jon") == events
    assert slots(working.document("profile", "kai"))["contact_info/city"] == ("Oslo", list(SAID)[1])
    counts = working.document("audit")["counts"]
    assert {name: counts[name] - start.get(name, 0) for name in ("applied", "duplicate", "missing")} == {
        "applied": 6,
        "duplicate": 18,
        "missing": 0,
    }


def acknowledged(state: Path) -> int:
    return SentState.model_validate_json(state.read_bytes()).acknowledged if state.exists() else 0


def wait_for_more_than(state: Path, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while acknowledged(state) <= count:
        assert time.monotonic() < deadline, "nothing was acknowledged"
        time.sleep(0.02)


def test_a_run_that_was_killed_or_interrupted_goes_on_and_every_user_stays_in_order(shell: CommandLine) -> None:
    documents = [
        {"user_id": f"u{number % 7}", "role": "user", "content": f"{number}", "created_at": "2026-01-12T01:21:05Z"}
        for number in range(1500)
    ]
    file, state = written(shell.folder / "many.jsonl", documents), shell.folder / "many.state"
    slowly = ("ingest", file, "--state", state.name, "--rate", "300")

    with shell.background(*slowly) as killed:
        wait_for_more_than(state, 0)
        killed.process.kill()
        killed.process.wait()
    left = acknowledged(state)
    with shell.background(*slowly) as interrupted:
        wait_for_more_than(state, left)
        assert interrupted.stop(signal.SIGINT) == 130
        assert "records are sent and acknowledged; the same command sends the rest" in interrupted.output()
    reached = acknowledged(state)
    assert left < reached < 1500

    done = shell.document("ingest", file, "--state", state.name)
    assert (done["skipped"], done["sent"], done["refused"]) == (reached, 1500 - reached, 0)
    assert shell.document("ingest", file, "--state", state.name)["sent"] == 0

    records = asyncio.run(read_all(shell.kafka, Topics(shell.kafka.topic_prefix).chat_messages))
    first: dict[str, list[int]] = {}
    seen = set()
    for record in records:
        value = orjson.loads(record.value)
        if value["id"] not in seen:
            seen.add(value["id"])
            first.setdefault(value["user_id"], []).append(int(value["blob_data"]["messages"][0]["content"]))
    assert first == {f"u{number}": list(range(number, 1500, 7)) for number in range(7)}


def test_the_state_of_another_input_is_refused(shell: CommandLine) -> None:
    file = written(shell.folder / "a.jsonl", rows("ann"))
    shell.call("ingest", file, "--state", "a.state")
    other = shell.call("ingest", file, "--state", "a.state", "--sort", fails=True)
    assert (other.exit_code, "remove a.state to send all of it" in other.stderr) == (2, True)
