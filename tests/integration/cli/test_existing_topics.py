"""A topic of another shape ends in profiles: ten lines of YAML, a dry run, a worker."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiokafka.admin import NewTopic

from schemas import headers as names
from schemas.settings import KafkaSettings
from streams.clients import admin, producer
from streams.topics import Topics
from tests.support.buffer_worker import read_all, unread
from tests.support.command_line import CommandLine
from tests.support.sources import TICKETS_YAML, ticket

PARTITIONS: Final = 7
RECENT_MS: Final = 1_735_725_600_000


@pytest.fixture
def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)


@pytest.fixture
def topic(shell: CommandLine, kafka: KafkaSettings) -> str:
    """Theirs, with the mapping in the working folder's config.yaml."""
    name = f"{kafka.topic_prefix}support.tickets"
    (shell.folder / "config.yaml").write_text(TICKETS_YAML.replace("TOPIC", name), encoding="utf-8")
    asyncio.run(create(kafka, name))
    return name


async def create(kafka: KafkaSettings, topic: str) -> None:
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(topic, PARTITIONS, 1)])


def encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else orjson.dumps(value)


def produce(kafka: KafkaSettings, topic: str, values: Sequence[Any]) -> None:
    """Without keys, over all partitions in turn, a millisecond apart: records of one have no order over partitions."""
    first_ms = int(time.time() * 1000) - len(values)

    async def send() -> None:
        async with producer(kafka) as client:
            for number, value in enumerate(values):
                await client.send_and_wait(
                    topic, encoded(value), partition=number % PARTITIONS, timestamp_ms=first_ms + number
                )

    asyncio.run(send())


def said(user_id: str, *texts: str) -> dict[str, Any]:
    thread = [pair for text in texts for pair in (("customer", text), ("bot", "typing"), ("agent", "Thank you."))]
    return ticket(*thread, customer=user_id, opened_ms=RECENT_MS)


@contextmanager
def worker(shell: CommandLine, roles: str = "ingest,buffer,extraction,relay") -> Iterator[None]:
    with shell.background("worker", "--roles", roles, until="worker.started"):
        yield


def facts(shell: CommandLine, user_id: str) -> dict[str, str]:
    entries = shell.document("profile", user_id)["entries"]
    return {f"{entry['topic']}/{entry['sub_topic']}": entry["content"] for entry in entries}


def letters_of(kafka: KafkaSettings) -> list[tuple[Any, dict[str, str]]]:
    found = asyncio.run(read_all(kafka, Topics(kafka.topic_prefix).dead_letters))
    return [(letter, {name: value.decode() for name, value in letter.headers}) for letter in found]


def test_nested_keyless_records_of_seven_partitions_end_in_profiles_and_bad_ones_are_parked(
    shell: CommandLine, kafka: KafkaSettings, topic: str
) -> None:
    users = {f"user-{number}": "Bergen" if number % 2 else "Leeds" for number in range(14)}
    bad = [ticket(("customer", 5)), {"ticket": None}, b"no json", ticket(("robot", "beep"))]
    good = [said(user_id, "My name is Ann.", f"I live in {city}.") for user_id, city in users.items()]
    produce(kafka, topic, good + bad)
    with worker(shell):
        shell.call("flush", "--all")
        assert {user_id: facts(shell, user_id)["contact_info/city"] for user_id in users} == users
        counts = shell.document("audit")["counts"]
        assert (counts["applied"], counts["missing"], counts["parked"]) == (14, 0, 0)
    letters = letters_of(kafka)
    assert {letter.value for letter, _ in letters} == {encoded(value) for value in bad}
    assert Counter((headers[names.ERROR_REASON], headers.get(names.ERROR_EXPRESSION)) for _, headers in letters) == {
        ("mapping-failed", "message.body.text"): 1,
        ("mapping-failed", "value.ticket.customer.id"): 1,
        ("mapping-failed", "message.from.kind"): 1,
        ("invalid-json", None): 1,
    }


def test_a_dry_run_shows_what_would_be_mapped_and_what_would_be_parked_and_reads_nothing_for_good(
    shell: CommandLine, kafka: KafkaSettings, topic: str
) -> None:
    produce(kafka, topic, [said("ann", f"I live in Leeds, house {number}.") for number in range(30)])
    shown = shell.documents("ingest-check", "--topic", topic, "--sample", "5")
    said_last = [record["mapped"][0]["blob_data"]["messages"][0]["content"] for record in shown]
    assert said_last == [f"I live in Leeds, house {number}." for number in range(25, 30)]
    oldest = shell.documents("ingest-check", "--sample", "3", "--from-beginning", "--partition", "2")
    assert [(record["partition"], record["offset"]) for record in oldest] == [(2, 0), (2, 1), (2, 2)]

    produce(kafka, topic, [ticket(("robot", "beep"), customer="bob"), ticket(("bot", "typing")), b"no json"])
    done = shell.call("ingest-check", "--sample", "33", fails=True)
    assert done.exit_code == 1
    assert "33 records: 30 mapped, 2 refused, 1 ignored: no message is left" in done.stdout
    assert "message.from.kind" in done.stdout
    assert '"robot"' in done.stdout
    assert "house 29" in done.stdout
    quiet = shell.call("ingest-check", "--sample", "33", "--no-text", fails=True).stdout
    assert "house" not in quiet
    assert "robot" not in quiet
    assert "user: 26 bytes" in quiet
    refusals = [refusal for record in shell.documents("ingest-check", fails=True) for refusal in record["refused"]]
    assert {(refusal["field"], refusal.get("found")) for refusal in refusals} == {("role", '"robot"'), ("value", None)}
    # Everything is still to be read.
    assert asyncio.run(unread(kafka, topic)) == 33


def test_a_flush_of_all_waits_for_the_sources(shell: CommandLine, kafka: KafkaSettings, topic: str) -> None:
    produce(kafka, topic, [said("ann", "I live in Leeds.")])
    gave_up = shell.call("flush", "--all", "--timeout-s", "2", fails=True)
    assert f"waiting for the ingest agent to read {topic} (1 left)" in gave_up.stderr


def test_a_dry_run_of_a_file_needs_no_broker(shell: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(TICKETS_YAML.replace("TOPIC", "tickets"), encoding="utf-8")
    (tmp_path / "sample.jsonl").write_bytes(orjson.dumps(said("ann", "hello")) + b"\n\n" + orjson.dumps({}) + b"\n")
    offline = shell.with_variables(MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    shown = offline.documents("ingest-check", "--file", "sample.jsonl", fails=True)
    counts = [(record["offset"], len(record["mapped"]), len(record["refused"])) for record in shown]
    assert counts == [(1, 1, 0), (3, 0, 1)]


def test_a_dry_run_says_what_is_missing(shell: CommandLine, topic: str) -> None:
    assert "has no topic other; it has " + topic in shell.call("ingest-check", "--topic", "other", fails=True).stderr
    assert "they are 0 to 6" in shell.call("ingest-check", "--partition", "7", fails=True).stderr
    config = shell.folder / "config.yaml"
    config.write_text(TICKETS_YAML.replace("TOPIC", f"{topic}.misspelt"), encoding="utf-8")
    done = shell.call("ingest-check", fails=True)
    assert (done.exit_code, f"there is no topic {topic}.misspelt" in done.stderr) == (2, True)
    config.unlink()
    assert "ingest.sources is empty" in shell.call("ingest-check", fails=True).stderr


def test_what_lay_on_a_source_before_a_forget_is_dropped_when_it_is_ingested_later(
    shell: CommandLine, kafka: KafkaSettings, topic: str
) -> None:
    produce(kafka, topic, [said("ann", "My name is Ann and I live in Bergen."), said("bob", "I live in Bergen.")])
    with worker(shell, "buffer,extraction,relay"):
        shell.run("send", "-", stdin=b'{"command": "forget-user", "user_id": "ann"}')
        shell.call("flush", "ann")
    produce(kafka, topic, [said("ann", "I live in Oslo.")])
    with worker(shell):
        shell.call("flush", "--all")
        assert facts(shell, "ann") == {"contact_info/city": "Oslo"}
        assert facts(shell, "bob") == {"contact_info/city": "Bergen"}
        counts = shell.document("audit")["counts"]
        assert (counts["erased"], counts["applied"]) == (1, 2)
