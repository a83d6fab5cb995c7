"""The main job under kills and freezes: every record applied once, the same memory, and nothing twice."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.settings import Settings
from streams.topics import Topics
from tests.conftest import plain_dsn
from tests.support.command_line import Background, CommandLine
from tests.support.expected_memory import Facts, expected_facts

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "cli" / "examples" / "conversations.jsonl"
# Conversations that nobody here wrote, where the checkout has them; the project's own suffice for what is tested.
DATA = ROOT.parent / "shared" / "data"
SCORER = ROOT.parent / "shared" / "tools" / "score_profiles.py"
RECORDS = 2000
WORKERS = 2
SESSION_S = 3.0
SENDING_S = 12.0
PUBLISHED_DEADLINE_S = 60.0
MEMORY_TABLES = ("users", "profiles", "profile_history", "events", "gists", "units", "outbox", "held_windows")

pytestmark = pytest.mark.timeout(400)


def conversations() -> list[bytes]:
    """Records of many users: the data set's, or the project's own examples under many names."""
    personachat = DATA / "personachat-en.jsonl"
    if personachat.exists():
        return personachat.read_bytes().splitlines()[:RECORDS]
    examples = [orjson.loads(line) for line in EXAMPLES.read_bytes().splitlines()]
    copies = (
        {**record, "id": f"{record['id']}-{copy}", "user_id": f"{record['user_id']}-{copy}"}
        for copy in range(RECORDS // len(examples))
        for record in examples
    )
    return [orjson.dumps(record) for record in copies]


class System:
    """Two workers of all roles, each a process, and the shell that they run in."""

    def __init__(self, shell: CommandLine, stack: ExitStack) -> None:
        self.shell = shell
        self._stack = stack
        self.workers: list[Background] = [self._start() for _ in range(WORKERS)]

    def kill(self, number: int) -> None:
        self.workers[number].stop(signal.SIGKILL)
        self.workers[number] = self._start()

    def freeze(self, number: int) -> None:
        """Stop a worker for longer than its session, so that the other one takes over, and let it go on."""
        process = self.workers[number].process
        process.send_signal(signal.SIGSTOP)
        time.sleep(2 * SESSION_S)
        process.send_signal(signal.SIGCONT)

    def start_sending(self, lines: Sequence[bytes]) -> "subprocess.Popen[bytes]":
        """Send the lines over some seconds, while other things happen."""
        send = (sys.executable, "-m", "cli.main", "send", "-")
        command = [sys.executable, "-m", "tests.support.slow_lines", "--seconds", str(SENDING_S), "--", *send]
        sending = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=dict(self.shell.environment))
        assert sending.stdin is not None
        sending.stdin.write(b"\n".join(lines) + b"\n")
        sending.stdin.close()
        return sending

    def _start(self) -> Background:
        return self._stack.enter_context(self.shell.background("worker", until="worker.started"))


@pytest.fixture(params=["memory", "rocksdb"])
def system(
    request: pytest.FixtureRequest, tmp_path: Path, kafka_bootstrap: str, database_url: str, topic_prefix: str
) -> Iterator[System]:
    shell = CommandLine.of(
        tmp_path,
        kafka=kafka_bootstrap,
        database_url=database_url,
        prefix=topic_prefix,
        MEMOSTREAM_BUFFER__STORE=request.param,
        MEMOSTREAM_KAFKA__PARTITIONS="4",
        MEMOSTREAM_KAFKA__SESSION_TIMEOUT_S=str(SESSION_S),
        MEMOSTREAM_KAFKA__HEARTBEAT_INTERVAL_S="0.5",
        MEMOSTREAM_RELAY__LEASE_S="3",
    )
    with ExitStack() as stack:
        yield System(shell, stack)


async def test_kills_and_freezes_lose_nothing_double_nothing_and_change_no_profile(
    system: System, database_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    lines = conversations()
    sending = system.start_sending(lines)
    system.kill(0)
    system.freeze(1)
    system.kill(1)
    assert sending.wait(60) == 0
    system.shell.run("flush", "--all", timeout_s=180)

    counts = system.shell.document("audit")["counts"]
    assert counts["applied"] == len(lines)
    assert {name for name, count in counts.items() if count} == {"applied", "command"}
    await outbox_published(database_url)
    memory = await read_memory(database_url)
    assert memory["units"] == len(lines)
    assert await units_recorded_twice(database_url) == 0
    assert await units_outside_their_month(database_url) == 0
    assert await stored_facts(database_url) == await expected_facts(lines, Settings())
    assert await published_profiles(kafka_bootstrap, topic_prefix) == await stored_facts(database_url)

    ends = await change_log_ends(kafka_bootstrap, topic_prefix)
    system.shell.run("send", "-", stdin=b"\n".join(lines))
    system.shell.run("flush", "--all", timeout_s=180)
    await outbox_published(database_url)
    assert await read_memory(database_url) == memory
    assert await change_log_ends(kafka_bootstrap, topic_prefix) == ends
    assert system.shell.document("audit")["counts"]["duplicate"] == len(lines)


if DATA.exists():

    async def test_offline_facts_of_real_dialogs_reach_the_agreed_recall_and_precision(tmp_path: Path) -> None:
        lines = (DATA / "personachat-en.jsonl").read_bytes().splitlines()
        score = scored(await expected_facts(lines, Settings()), tmp_path / "facts.jsonl")
        assert score["users_with_facts"] >= 0.8
        assert score["recall"] >= 0.7
        assert score["precision"] >= 0.28
        assert score["facts_per_user"] <= 8


def scored(facts: Facts, file: Path) -> dict[str, float]:
    """What the scorer beside the data says of the facts of the second half of the users, one a piece of a slot."""
    found: dict[str, list[str]] = {}
    for user_id, _, _, content in facts:
        found.setdefault(user_id, []).extend(content.split("; "))
    file.write_text("".join(json.dumps({"user_id": user, "facts": memos}) + "\n" for user, memos in found.items()))
    arguments: list[str | Path] = [
        DATA / "personachat-en.jsonl",
        DATA / "personachat-en.personas.json",
        file,
        "--half",
        "2",
    ]
    done = subprocess.run([sys.executable, SCORER, *arguments], capture_output=True, check=True)
    score: dict[str, float] = json.loads(done.stdout)
    return score


async def read_memory(database_url: str) -> dict[str, int]:
    connection = await asyncpg.connect(plain_dsn(database_url))
    try:
        return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in MEMORY_TABLES}
    finally:
        await connection.close()


async def outbox_published(database_url: str) -> None:
    """Wait for the relay, which publishes after a flush has returned."""
    async with asyncio.timeout(PUBLISHED_DEADLINE_S):
        while (await read_memory(database_url))["outbox"]:
            await asyncio.sleep(0.2)


async def units_recorded_twice(database_url: str) -> int:
    connection = await asyncpg.connect(plain_dsn(database_url))
    try:
        twice = "SELECT 1 FROM units GROUP BY project_id, user_id, blob_id, message_index, part HAVING count(*) > 1"
        return int(await connection.fetchval(f"SELECT count(*) FROM ({twice}) AS twice"))
    finally:
        await connection.close()


async def units_outside_their_month(database_url: str) -> int:
    connection = await asyncpg.connect(plain_dsn(database_url))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM units_default"))
    finally:
        await connection.close()


async def stored_facts(database_url: str) -> Facts:
    connection = await asyncpg.connect(plain_dsn(database_url))
    try:
        rows = await connection.fetch("SELECT user_id, topic, sub_topic, content FROM profiles")
        return {tuple(row) for row in rows}
    finally:
        await connection.close()


async def published_profiles(kafka_bootstrap: str, prefix: str) -> Facts:
    """The compacted topic as a reader from its beginning ends with it."""
    topic = Topics(prefix).profiles
    states = {}
    async with AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, isolation_level="read_committed") as reader:
        places = [TopicPartition(topic, number) for number in range(4)]
        reader.assign(places)
        # Of all records, also those whose transaction is committed and not yet marked so.
        ends = await change_log_ends(kafka_bootstrap, prefix)
        await reader.seek_to_beginning(*places)
        while [place for place in places if await reader.position(place) < ends[place]]:
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    states[record.key] = orjson.loads(record.value)
    return {
        (state["user_id"], entry["topic"], entry["sub_topic"], entry["content"])
        for state in states.values()
        for entry in state["profile"]
    }


async def change_log_ends(kafka_bootstrap: str, prefix: str) -> dict[TopicPartition, int]:
    topics = Topics(prefix)
    names = (topics.profile_updated, topics.event_updated, topics.profiles, topics.dead_letters)
    places = [TopicPartition(name, number) for name in names for number in range(4)]
    async with AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap) as reader:
        return dict(await reader.end_offsets(places))
