"""`memostream publish-snapshot`: what was lost of `profiles` is there again, and the audit agrees."""

import time
from typing import Any

import orjson
import pytest

from streams.clients import admin
from tests.support.buffer_worker import read_all
from tests.support.command_line import CommandLine

DEADLINE_S = 60.0


async def values_of(shell: CommandLine, topic: str) -> list[dict[str, Any]]:
    kafka = shell.kafka
    return [orjson.loads(record.value) for record in await read_all(kafka, f"{kafka.topic_prefix}{topic}")]


def faults(shell: CommandLine) -> int:
    """Users whose state on `profiles` is not that of Postgres, once the outbox is empty."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        check = shell.document("audit", "--check", "profiles")["checks"]["profiles"]
        if not check["unsettled"] or time.monotonic() > deadline:
            return int(check["wrong"])


async def test_a_lost_topic_is_whole_again(shell: CommandLine) -> None:
    with shell.background("worker", until="worker.started"):
        shell.call("send", "--user", "ann", "I moved to Oslo.")
        shell.call("send", "--user", "bo", "--project", "shop", "I work as a baker.")
        shell.call("flush", "--all")
        assert faults(shell) == 0
    lost = {value["user_id"]: value["profile"] for value in await values_of(shell, "profiles")}
    assert set(lost) == {"ann", "bo"}
    kafka = shell.kafka
    async with admin(kafka) as client:
        await client.delete_topics([f"{kafka.topic_prefix}profiles"])
    with shell.background("worker", until="worker.started"):
        assert shell.document("audit", "--check", "profiles", fails=True)["checks"]["profiles"]["wrong"] == 2
        published = shell.document("publish-snapshot")
        assert published == {"users": 2, "entries": sum(map(len, lost.values())), "events": 0}
        assert faults(shell) == 0
        # The changes of before, and those that were read again, do not contradict each other.
        assert shell.document("audit")["agrees"]
    assert {value["user_id"]: value["profile"] for value in await values_of(shell, "profiles")} == lost
    read_again = [change["after"] for change in await values_of(shell, "profile-updated") if change["op"] == "r"]
    entries = [entry for entries in lost.values() for entry in entries]
    assert sorted(read_again, key=repr) == sorted(entries, key=repr)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--user", "nobody"], "nothing is remembered of nobody"),
        (["--user", "ann", "--project", "other"], "nothing is remembered of ann in project other"),
        (["--project", "other"], "there are no users in project other"),
        ([], "there are no users"),
    ],
)
def test_of_nobody_there_is_no_snapshot(shell: CommandLine, options: list[str], words: str) -> None:
    refused = shell.call("publish-snapshot", *options, fails=True)
    assert words in refused.stderr
