"""The audit's checks on a system that works, at rest and under load, and of a range."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import orjson

from cli.audit_findings import CHECKS
from streams.clients import producer
from streams.topics import Topics
from tests.support.command_line import CommandLine

USERS = [f"user-{number}" for number in range(20)]
TEXTS = ("I live in Bergen.", "I work as a nurse and I have a dog.", "I moved to Oslo.")


def said(user_id: str, text: str) -> bytes:
    return orjson.dumps({"user_id": user_id, "blob_data": {"messages": [{"role": "user", "content": text}]}})


def test_nothing_is_wrong_with_a_system_at_rest(working: CommandLine) -> None:
    for text in TEXTS:
        file = working.folder / "chats.jsonl"
        file.write_bytes(b"\n".join(said(user, text) for user in USERS))
        working.call("send", str(file))
        working.call("flush", "--all")
    account = working.document("audit")
    assert account["agrees"], account
    checks = account["checks"]
    assert [(check["wrong"], check["unsettled"]) for check in checks.values()] == [(0, 0)] * len(CHECKS)
    assert checks["records"]["looked_at"] == checks["ledger"]["looked_at"] == 120
    assert checks["order"]["looked_at"] == 60
    assert checks["profiles"]["looked_at"] == 20
    assert checks["changes"]["looked_at"] > 60


def test_a_system_under_load_is_not_told_to_be_wrong(working: CommandLine) -> None:
    with load(working):
        accounts = [working.document("audit") for _ in range(3)]
    assert [account["agrees"] for account in accounts] == [True] * 3, accounts
    looked_at = [account["checks"]["order"]["looked_at"] for account in accounts]
    assert looked_at[0] < looked_at[-1]


def test_a_range_of_time_leaves_out_what_came_before_it(working: CommandLine) -> None:
    everything = working.document("audit", "--from-datetime", "2026-01-01")
    assert everything["records"] > 0
    assert everything["checks"]["changes"]["looked_at"] > 0
    # Nothing was written before.
    before = working.document("audit", "--to-datetime", "2026-01-01", "--check", "records", "--check", "ledger")
    assert before["records"] == 0
    assert {name: check["looked_at"] for name, check in before["checks"].items()} == {"records": 0, "ledger": 0}
    refused = working.call("audit", "--by-duration", "1D", fails=True)
    assert (refused.exit_code, "PnDTnHnMnS" in refused.stderr) == (2, True)


@contextmanager
def load(shell: CommandLine) -> Iterator[None]:
    """Messages and flushes of all users, one after the other, while the block runs."""
    ended = threading.Event()
    prefix = shell.environment["MEMOSTREAM_KAFKA__TOPIC_PREFIX"]
    kafka = shell.kafka

    async def send() -> None:
        async with producer(kafka) as client:
            topic = Topics(prefix).chat_messages
            number = 0
            while not ended.is_set():
                user = USERS[number % len(USERS)]
                await client.send_and_wait(topic, said(user, f"I live in city {number}."), user.encode())
                if number % 3 == 0:
                    flush = orjson.dumps({"command": "flush", "user_id": user})
                    await client.send_and_wait(topic, flush, user.encode())
                number += 1
                await asyncio.sleep(0.01)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(asyncio.run, send())
        try:
            yield
        finally:
            ended.set()
        sending.result()
