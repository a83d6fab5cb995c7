"""`memostream dead-letters` on a running system: what was parked by a fault is in memory once that is mended."""

import asyncio
import time
from typing import Any

import orjson
import pytest
from aiokafka.admin import NewTopic

from streams.clients import admin, producer
from streams.topics import Topics
from tests.support.command_line import CommandLine
from tests.support.sources import TICKETS_YAML, ticket

DEADLINE_S = 60.0
SAID = ("I moved to Oslo.", "I work as a baker.", "I have a dog.", "I live in Bergen.")
# March 2026, a day apart.
FIRST_MS, DAY_MS = 1_772_400_000_000, 86_400_000


def produce(shell: CommandLine, topic: str, values: list[bytes], key: bytes | None = None) -> None:
    async def send() -> None:
        async with producer(shell.kafka) as client:
            for value in values:
                await client.send_and_wait(topic, value, key=key)

    asyncio.run(send())


def letters(shell: CommandLine, count: int, *options: str) -> list[dict[str, Any]]:
    """The open letters, once there are so many."""
    deadline = time.monotonic() + DEADLINE_S
    while len(found := shell.documents("dead-letters", "list", *options)) != count:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def memory(shell: CommandLine, user: str) -> list[tuple[str, str, str, str]]:
    """The user's slots with what they hold and when it was said."""
    profile = shell.document("profile", user)["entries"]
    return [(slot["topic"], slot["sub_topic"], slot["content"], slot["occurred_at"]) for slot in profile]


def test_what_a_wrong_mapping_parked_ends_as_if_it_had_been_right(shell: CommandLine) -> None:
    topic = f"{shell.kafka.topic_prefix}tickets"

    async def create() -> None:
        async with admin(shell.kafka) as client:
            await client.create_topics([NewTopic(topic, 1, 1)])

    def said_by(user: str) -> list[bytes]:
        days = enumerate(SAID)
        return [
            orjson.dumps(ticket(("customer", text), customer=user, opened_ms=FIRST_MS + n * DAY_MS)) for n, text in days
        ]

    asyncio.run(create())
    config = shell.folder / "config.yaml"
    right = TICKETS_YAML.replace("TOPIC", topic)
    config.write_text(right.replace("message.body.text", "message.body.words"), encoding="utf-8")
    produce(shell, topic, said_by("ann"))
    with shell.background("worker", until="worker.started"):
        parked = letters(shell, len(SAID))
        assert {letter["reason"] for letter in parked} == {"mapping-failed"}
        assert [letter["source"]["offset"] for letter in parked] == list(range(len(SAID)))
    config.write_text(right, encoding="utf-8")
    # Later messages of the user do not wait.
    produce(shell, topic, said_by("bo"))
    with shell.background("worker", until="worker.started"):
        shell.call("flush", "--all")
        planned = shell.document("dead-letters", "redrive", "--user", "ann")
        assert (planned["executed"], planned["letters"]) == (False, len(SAID))
        assert shell.call("profile", "ann", fails=True).exit_code == 1
        assert shell.document("dead-letters", "redrive", "--execute")["letters"] == len(SAID)
        shell.call("flush", "--all")
        assert memory(shell, "ann") == memory(shell, "bo")
        assert memory(shell, "ann")
        letters(shell, 0)
        # Once more by hand it is skipped.
        assert shell.document("dead-letters", "redrive", "--execute")["letters"] == 0
        assert {letter["status"] for letter in shell.documents("dead-letters", "list", "--all")} == {"applied"}
        assert shell.document("audit")["agrees"]


@pytest.fixture
def parked(working: CommandLine) -> list[dict[str, Any]]:
    """Letters of records that nothing can be made of: one that names its user, and one that does not."""
    if not working.documents("dead-letters", "list", "--all"):
        topic = Topics(working.kafka.topic_prefix).chat_messages
        produce(working, topic, [b'{"user_id": "abe", "blob_data": {"messages": []}}', b"no json"], b"abe")
    letters(working, 2, "--all")
    return working.documents("dead-letters", "list", "--all")


def test_a_letter_is_shown_with_what_it_says_and_listed_without(
    working: CommandLine, parked: list[dict[str, Any]]
) -> None:
    named, unnamed = parked
    assert (named["user_id"], named["reason"], named["times"]) == ("abe", "invalid-record", 1)
    assert (unnamed["user_id"], unnamed["reason"]) == (None, "invalid-json")
    listed = working.call("dead-letters", "list").stdout
    assert "invalid-json" in listed
    assert "no json" not in listed
    place = f"{unnamed['partition']}/{unnamed['offset']}"
    shown = working.call("dead-letters", "show", place).stdout
    assert "no json" in shown
    assert "__memostream.errors.reason: invalid-json" in shown
    assert working.document("dead-letters", "show", place)["value"] == "no json"


def test_what_fails_again_says_how_often(working: CommandLine, parked: list[dict[str, Any]]) -> None:
    _, unnamed = parked
    times = unnamed["times"]
    working.call("dead-letters", "redrive", f"{unnamed['partition']}/{unnamed['offset']}", "--execute")
    deadline = time.monotonic() + DEADLINE_S
    while (again := working.documents("dead-letters", "list", "--reason", "invalid-json"))[0]["times"] == times:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (len(again), again[0]["times"], again[0]["first"]) == (1, times + 1, unnamed["first"])
    refused = working.call("dead-letters", "show", f"{unnamed['partition']}/{unnamed['offset']}", fails=True)
    assert "name its newest letter" in refused.stderr


def test_what_is_dropped_is_not_open_any_more(working: CommandLine, parked: list[dict[str, Any]]) -> None:
    planned = working.document("dead-letters", "drop", "--topic", parked[0]["source"]["topic"])
    assert (planned["executed"], planned["letters"], len(planned["refused"])) == (False, 1, 1)
    assert "names no user" in planned["refused"][0]["why"]
    assert working.document("dead-letters", "drop", "--user", "abe", "--execute")["letters"] == 1
    assert [letter["user_id"] for letter in letters(working, 1)] == [None]
    statuses = {letter["user_id"]: letter["status"] for letter in working.documents("dead-letters", "list", "--all")}
    assert statuses == {"abe": "erased", None: "open"}
    # Sent again from elsewhere, it would not be applied.
    assert working.document("audit")["agrees"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "9/9"], 1, "no dead letter lies at 9/9"),
        (["show", "17"], 2, "PARTITION/OFFSET"),
        (["redrive", "0/999", "--execute"], 1, "no dead letter lies at 0/999"),
        (["list", "--by-duration", "1D"], 2, "PnDTnHnMnS"),
        (["list", "--from-datetime", "2026-02-01", "--to-datetime", "2026-01-01"], 2, "the range is empty"),
        (["drop"], 2, "name the letters, or a filter"),
    ],
)
def test_bad_input_is_refused_with_the_fix(working: CommandLine, arguments: list[str], code: int, words: str) -> None:
    refused = working.call("dead-letters", *arguments, fails=True)
    assert (refused.exit_code, words in refused.stderr) == (code, True), refused.stderr
