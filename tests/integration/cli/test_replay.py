"""`memostream replay` on a running system: what memory lost is applied as it was, and what it has changes nothing."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import pytest

from streams.clients import producer
from streams.topics import Topics
from tests.conftest import plain_dsn
from tests.support.command_line import CommandLine

DEADLINE_S = 60.0
SAID = ("I moved to Oslo.", "I work as a baker.", "I have a dog.")
# A day apart, months ago.
FIRST_S, DAY_S = 1_772_400_000, 86_400
MEMORY = ("users", "profiles", "profile_history", "events", "gists", "units", "ledger", "forgotten_users", "usage")


async def said(shell: CommandLine, *users: str) -> None:
    topic = Topics(shell.kafka.topic_prefix).chat_messages
    async with producer(shell.kafka) as client:
        for number, text in enumerate(SAID):
            at = datetime.fromtimestamp(FIRST_S + number * DAY_S, UTC).isoformat()
            for user in users:
                message = {"role": "user", "content": text}
                value = {"user_id": user, "created_at": at, "blob_data": {"messages": [message]}}
                # Ids come from the positions.
                await client.send_and_wait(topic, orjson.dumps(value), user.encode())


def memory(shell: CommandLine, user: str) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    """The user's slots: what they hold, when it was said, and in which messages."""
    names = ("topic", "sub_topic", "content", "occurred_at", "message_ids")
    return [tuple(slot[name] for name in names) for slot in shell.document("profile", user)["entries"]]


async def counted(shell: CommandLine, *tables: str) -> dict[str, int]:
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    finally:
        await connection.close()


async def restore_an_empty_backup(shell: CommandLine) -> None:
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        await connection.execute(f"TRUNCATE {', '.join(MEMORY)} CASCADE")
    finally:
        await connection.close()


async def test_what_a_restored_database_lost_is_applied_as_it_was_and_a_second_replay_changes_nothing(
    shell: CommandLine,
) -> None:
    with shell.background("worker", until="worker.started"):
        await said(shell, "ann", "bo", "cy")
        shell.call("flush", "--all")
        topic = Topics(shell.kafka.topic_prefix).chat_messages
        async with producer(shell.kafka) as client:
            await client.send_and_wait(topic, b'{"command": "forget-user", "user_id": "cy"}', b"cy")
        shell.call("send", "--user", "cy", "I have a cat.")
        shell.call("flush", "--all")
        before = {user: memory(shell, user) for user in ("ann", "bo", "cy")}
        assert all(before.values())
        nothing = shell.document("replay", "plan", "--to-earliest")
        assert (nothing["send"], nothing["windows"], nothing["expected"]["cost"]) == ({}, 0, 0.0)

        await restore_an_empty_backup(shell)
        assert shell.document("raise-revisions") == {"published": 3, "raised": 3}
        assert shell.document("raise-revisions") == {"published": 3, "raised": 0}
        planned = shell.document("replay", "run", "--to-earliest")
        # What cy said before the forget stays out.
        assert planned["send"] == {"message": 2 * len(SAID) + 1, "forget": 1}
        assert (planned["users"], planned["executed"], planned["sent"]) == (3, False, 0)
        assert await counted(shell, "units") == {"units": 0}
        only_ann = shell.document("replay", "run", "--to-earliest", "--user", "ann", "--execute")
        assert only_ann["sent"] == len(SAID)
        shell.call("flush", "--all")
        assert memory(shell, "ann") == before["ann"]
        assert shell.document("replay", "run", "--to-earliest", "--execute")["sent"] == len(SAID) + 2
        shell.call("flush", "--all")
        assert {user: memory(shell, user) for user in before} == before

        rows = await counted(shell, *MEMORY, "outbox")
        again = shell.document("replay", "run", "--to-earliest", "--execute")
        assert (again["send"], again["sent"]) == ({}, 0)
        shell.call("flush", "--all")
        assert await counted(shell, *MEMORY, "outbox") == rows
        shell.document("publish-snapshot")
        # Of windows and changes from after the backup Postgres knows nothing.
        checks = ("records", "once", "order", "change-order", "profiles", "orphans")
        report = shell.document("audit", *(word for name in checks for word in ("--check", name)))
        assert report["agrees"], report


async def test_windows_are_extracted_again_without_being_buffered(shell: CommandLine) -> None:
    with shell.background("worker", until="worker.started"):
        await said(shell, "ann")
        shell.call("flush", "--all")
        before = memory(shell, "ann")
        await restore_an_empty_backup(shell)
        planned = shell.document("replay", "plan", "--topic", "extraction-windows", "--to-earliest")
        assert planned["send"] == {"window": len(SAID)}
        sent = shell.document("replay", "run", "--topic", "extraction-windows", "--to-earliest", "--execute")
        assert sent["sent"] == len(SAID)
        deadline = time.monotonic() + DEADLINE_S
        while (await counted(shell, "ledger"))["ledger"] < len(SAID):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert memory(shell, "ann") == before
        left = shell.document("replay", "plan", "--topic", "extraction-windows", "--to-earliest")
        # The windows, and those that came again, which may not be committed yet.
        known = left["left_out"]
        assert (left["send"], known["applied"] + known.get("extracting", 0)) == ({}, 2 * len(SAID))


REFUSED: list[tuple[tuple[str, ...], str]] = [
    ((), "say where to begin"),
    (("--topic", "profiles", "--to-earliest"), "--topic must be chat-messages or extraction-windows"),
    (("--topic", "chat-messages:0,7", "--to-earliest"), "no partition 7; they are 0 to 1"),
    (("--to-offset", "1000000"), "the range is empty"),
    (("--to-earliest", "--until-datetime", "1999-01-01"), "the range is empty"),
    (("--to-datetime", "1969-01-01"), "must not be before 1970"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_a_range_that_cannot_be_replayed_is_refused_with_the_reason(
    working: CommandLine, options: tuple[str, ...], reason: str
) -> None:
    assert reason in working.call("replay", "run", *options, "--execute", fails=True).stderr


def test_a_topic_that_does_not_exist_is_refused(shell: CommandLine) -> None:
    assert "there is no topic" in shell.call("replay", "plan", "--to-earliest", fails=True).stderr


def test_a_plan_for_a_person_names_what_is_left_out(working: CommandLine) -> None:
    working.call("send", "--user", "eve", "I have a boat.")
    working.call("flush", "eve")
    shown: Any = working.call("replay", "run", "--to-earliest", "--user", "eve", "--execute").stdout
    assert "there is nothing to replay" in shown
    assert "in memory" in shown
    assert "sent: 0" in shown
    refused = working.call("replay", "plan", "--to-earliest", "--project", "shop", fails=True).stderr
    assert "the range holds nothing of project shop: check the ids, or begin earlier" in refused
