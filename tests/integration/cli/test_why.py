"""`memostream why` against a running worker: facts of records of every kind, and texts that are gone."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from cloudevents.core.bindings import kafka as binding
from cloudevents.core.v1.event import CloudEvent

from schemas.settings import KafkaSettings
from streams.clients import admin, producer
from streams.topics import Topics, partition_for
from tests.support.buffer_step import chat
from tests.support.command_line import CommandLine
from tests.support.sources import TICKETS_YAML, ticket

PARTITIONS: Final = 2
CITIES: Final[Mapping[str, str]] = {
    "plain": "Bergen",
    "forwarded": "Leeds",
    "ingested": "Oslo",
    "event": "Turin",
    "long": "Ghent",
}


@pytest.fixture
def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)


def said(user_id: str, city: str, **more: Any) -> dict[str, Any]:
    return chat(f"Hello! I live in {city}.", user_id=user_id, **more)


def send(kafka: KafkaSettings, value: Any, *, topic: str | None = None, **options: Any) -> int:
    """Send a record and return its offset."""

    async def sending() -> int:
        async with producer(kafka) as client:
            raw = value if isinstance(value, bytes) else orjson.dumps(value)
            sent = await client.send_and_wait(topic or Topics(kafka.topic_prefix).chat_messages, raw, **options)
            return int(sent.offset)

    return asyncio.run(sending())


def administer(kafka: KafkaSettings, work: Callable[[Any], Any]) -> Any:
    async def working() -> Any:
        async with admin(kafka) as client:
            return await work(client)

    return asyncio.run(working())


def delete_records(kafka: KafkaSettings, *partitions: int) -> None:
    """As retention does: all that lies on these partitions of `chat-messages`, by default on all."""
    topic = Topics(kafka.topic_prefix).chat_messages
    places = {TopicPartition(topic, number): RecordsToDelete(-1) for number in partitions or range(PARTITIONS)}
    administer(kafka, lambda client: client.delete_records(places))


def city(shell: CommandLine, user_id: str, *options: str) -> dict[str, Any]:
    """The one message behind the user's city."""
    document = shell.document("why", user_id, "contact_info", "city", *options)
    (change,) = document["changes"]
    (message,) = change["messages"]
    assert document["current"]["content"] == change["after"] == CITIES[user_id]
    assert message["window_id"] in change["window_ids"]
    assert change["extractor"].keys() == {"name", "version", "model", "prompt_hash"}
    return dict(message)


def test_the_message_of_a_fact_is_shown_whichever_way_it_came_until_the_topic_has_removed_it(
    shell: CommandLine, kafka: KafkaSettings
) -> None:
    topic, source = Topics(kafka.topic_prefix).chat_messages, f"{kafka.topic_prefix}tickets"
    (shell.folder / "config.yaml").write_text(TICKETS_YAML.replace("TOPIC", source), encoding="utf-8")
    administer(kafka, lambda client: client.create_topics([NewTopic(source, PARTITIONS, 1)]))
    wrong = 1 - partition_for(b"forwarded", PARTITIONS)
    attributes = {"id": "e-1", "source": "/support", "type": "com.example.said", "subject": "event"}
    data = {"blob_data": said("event", CITIES["event"])["blob_data"]}
    event = binding.to_binary_event(CloudEvent(attributes=attributes, data=data))
    filler = " Nothing else has happened here." * 3000
    with shell.background("worker", until="worker.started"):
        send(kafka, said("plain", CITIES["plain"], id="p/1"), key=b"plain")
        first = send(kafka, said("forwarded", CITIES["forwarded"]), partition=wrong)
        send(kafka, ticket(("customer", f"Hello! I live in {CITIES['ingested']}."), customer="ingested"), topic=source)
        send(kafka, event.value, key=b"event", headers=list(event.headers.items()))
        send(kafka, chat(f"Hello! I live in {CITIES['long']}.{filler}", user_id="long", id="l-1"), key=b"long")
        shell.call("flush", "--all")
        for user_id in CITIES:
            message = city(shell, user_id)
            assert (message["text_source"], message["role"], message["state"]) == ("topic", "user", "applied")
            assert message["text"] == f"Hello! I live in {CITIES[user_id]}.{filler if user_id == 'long' else ''}"
            (quote,) = message["quotes"]
            assert CITIES[user_id] in quote
            assert quote in message["text"]
        assert city(shell, "plain")["id"] == "p/1/0"
        origins = {user_id: city(shell, user_id)["origin"] for user_id in CITIES}
        assert {user_id: origin and origin["topic"] for user_id, origin in origins.items()} == {
            "plain": None,
            "forwarded": topic,
            "ingested": source,
            "event": None,
            "long": None,
        }
        assert (origins["forwarded"]["partition"], origins["forwarded"]["offset"]) == (wrong, first)

    shown = shell.call("why", "plain", "contact_info", "city").stdout
    assert f"»{city(shell, 'plain')['quotes'][0]}«" in shown
    unread = city(shell, "plain", "--no-text")
    assert (unread["text"], unread["text_missing"]) == (None, "not-asked")
    # The forwarded copy alone: its original is still there, on the other partition.
    delete_records(kafka, 1 - wrong)
    assert city(shell, "forwarded")["text"] == f"Hello! I live in {CITIES['forwarded']}."
    delete_records(kafka)
    for user_id in CITIES:
        message = city(shell, user_id)
        assert (message["text"], message["text_missing"], len(message["quotes"])) == (None, "removed", 1)
    assert f"no longer on {topic}" in shell.call("why", "plain", "contact_info", "city").stdout


def test_a_topic_made_anew_does_not_lend_its_messages_to_older_facts(shell: CommandLine, kafka: KafkaSettings) -> None:
    topic = Topics(kafka.topic_prefix).chat_messages
    with shell.background("worker", until="worker.started"):
        send(kafka, said("plain", CITIES["plain"]), partition=partition_for(b"plain", PARTITIONS), key=b"plain")
        shell.call("flush", "plain")
        assert city(shell, "plain")["text"] == "Hello! I live in Bergen."
    place = city(shell, "plain")["position"]
    away = shell.with_variables(MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert city(away, "plain")["text_missing"] == "unanswered"

    administer(kafka, lambda client: client.delete_topics([topic]))
    assert city(shell, "plain")["text_missing"] == "no-topic"
    administer(kafka, lambda client: client.create_topics([NewTopic(topic, PARTITIONS, 1)]))
    assert city(shell, "plain")["text_missing"] == "replaced"
    secret = said("other", "a city that nobody else may know of")
    assert send(kafka, secret, partition=place["partition"], key=b"other") == place["offset"]
    message = city(shell, "plain")
    assert (message["text"], message["text_missing"]) == (None, "replaced")
    shown = shell.call("why", "plain", "contact_info", "city").stdout
    assert "made anew" in shown
    assert "nobody else" not in shown


def test_kept_texts_deleted_facts_and_slots_that_never_were(shell: CommandLine, kafka: KafkaSettings) -> None:
    kept = shell.with_variables(MEMOSTREAM_STORAGE__PERSISTENT_CHAT_BLOBS="true")
    with kept.background("worker", until="worker.started"):
        for number, town in enumerate(("Leeds", CITIES["plain"])):
            send(kafka, said("plain", town, id=f"p-{number}"), key=b"plain")
            kept.call("flush", "plain")
        delete_records(kafka)
        document = kept.document("why", "plain", "Contact_Info", "CITY")
        texts = [
            (message["text"], message["text_source"]) for one in document["changes"] for message in one["messages"]
        ]
        assert texts == [("Hello! I live in Bergen.", "postgres"), ("Hello! I live in Leeds.", "postgres")]
        assert [(one["before"], one["after"]) for one in document["changes"]] == [
            ("Leeds", "Bergen"),
            (None, "Leeds"),
        ]
        (newest,) = kept.document("why", "plain", "contact_info", "city", "--limit", "1")["changes"]
        assert newest["after"] == "Bergen"

        event_ids = [event["id"] for event in kept.documents("events", "plain")]
        event = kept.document("why", "plain", "--event", event_ids[0])
        messages = [message for gist in event["gists"] for message in gist["messages"]] + event["other_messages"]
        assert {message["text"] for message in messages} == {"Hello! I live in Leeds."}
        assert "has no event" in kept.call("why", "other", "--event", event_ids[0], fails=True).stderr
        nearest = kept.call("why", "plain", "contact_info", "town", fails=True)
        assert "the nearest slots are: contact_info/city" in nearest.stderr
        assert "nothing is remembered of other" in kept.call("why", "other", "a", "b", fails=True).stderr
