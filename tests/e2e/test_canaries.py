"""No word of a user, a prompt or a secret reaches the log, whatever happens: each is a canary here, at debug level.

One worker goes through all of it: messages that become memory, endpoints that fail in every way, broken records, a
broker that goes away, a row that the database refuses.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy.engine import make_url

from schemas.settings import load_settings
from tests.conftest import execute, plain_dsn
from tests.support import scripted_openai
from tests.support.command_line import Background, CommandLine
from tests.support.guarded_broker import GuardedBroker, guarded_broker
from tests.support.scripted_openai import Answer, Call, Fault, ScriptedOpenAI

DIMENSION = 256
SASL_USER = "memo"
WAIT_S = 120.0

# Letters and digits only, so that neither JSON nor a terminal's line breaks can hide one.
MESSAGE, MEMO, GIST, ALIAS, FIELD = "zqmessagezq", "zqmemozq", "zqgistzq", "zqaliaszq", "zqfieldzq"
RECORD_KEY, HEADER, BROKEN = "zqrecordkeyzq", "zqheaderzq", "zqbrokenzq"
REPLY, PROMPT, FORBIDDEN = "zqreplyzq", "zqsystempromptzq", "zqforbiddenzq"
API_KEY, API_HEADER, API_QUERY = "zqapikeyzq", "zqapiheaderzq", "zqapiqueryzq"
DATABASE_PASSWORD, BROKER_PASSWORD = "zqdatabasezq", "zqbrokerpasswordzq"
OF_ERRORS = "__memostream.errors."
CANARY = re.compile(r"zq[a-z]+zq")

REFUSED, GARBLED = "please refuse", "please garble"
# All that an endpoint does to those who call it, some of it with a quotation.
FAULTS: Mapping[str, Fault] = {
    "unauthorized": Fault("status", 401, {"error": {"message": f"wrong key {API_KEY}", "code": "invalid_api_key"}}),
    "unknown_model": scripted_openai.unknown_model(),
    "no_quota": scripted_openai.no_quota(),
    "bad_request": scripted_openai.bad_request("messages", f"cannot read {REPLY}"),
    "server_error": Fault("status", 500, {"error": {"message": f"while reading {REPLY}"}}),
    "rate_limited": scripted_openai.rate_limited(0.1),
    "malformed": scripted_openai.malformed_json(),
    "cut": scripted_openai.cut_connection(),
    "cut_off": scripted_openai.cut_off(),
    "too_long": scripted_openai.context_too_long(),
}


def answer(call: Call) -> Answer:
    """Faults by what is said; and words of the model's own, which are nobody's business either."""
    if call.kind == "extract":
        if REFUSED in call.prompt:
            return Fault("refusal")
        if GARBLED in call.prompt:
            return f"{REPLY} {{ {MESSAGE}"
    return None


def chat(user: str, *texts: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text, "alias": ALIAS} for text in texts]
    return {"user_id": user, "fields": {"note": FIELD}, "blob_data": {"messages": messages}, **more}


def told(user: str) -> dict[str, Any]:
    """Something to remember."""
    return chat(user, f"{MESSAGE} says hello", f"fact contact_info/city: {MEMO}", f"event: {GIST}")


def broken_records() -> list[bytes]:
    """Each is refused for another reason, and each holds a canary where the reason is looked for."""
    message = {"role": "user", "content": BROKEN}
    documents: list[Any] = [
        [BROKEN],
        {"user_id": "eve"},
        {"user_id": {"name": BROKEN}, "blob_data": {"messages": [message]}},
        {"user_id": "eve", "blob_type": BROKEN, "blob_data": {}},
        {"user_id": "eve", "v": BROKEN, "blob_data": {"messages": [message]}},
        {"user_id": "eve", "v": 99, "blob_data": {"messages": [message]}},
        {"user_id": "eve", "created_at": BROKEN, "blob_data": {"messages": [message]}},
        {"user_id": "eve", "blob_data": {"messages": [{"role": BROKEN, "content": BROKEN}]}},
        {"user_id": "eve", "blob_data": {"messages": [{"role": "user", "content": {BROKEN: BROKEN}}]}},
        {"user_id": "eve", "command": BROKEN},
        {"user_id": "eve", "blob_type": "image", "blob_data": {"url": BROKEN}},
    ]
    return [orjson.dumps(document) for document in documents] + [
        f'{{"user_id": "eve", "{BROKEN}'.encode(),
        b'{"user_id": "' + BROKEN.encode() + b'\xff"}',
        orjson.dumps(chat("eve", BROKEN * 40_000)),
    ]


# Somebody else's topic, and what becomes of its records: JMESPath quotes values where it fails.
FOREIGN = "foreign"
MAPPING = {
    "user_id": "join('-', [value.tenant, value.who])",
    "content": "value.text",
    "created_at": "value.at",
    "defaults": {"role": "user"},
}


def foreign_records() -> list[bytes]:
    """One that can be mapped, and others that cannot."""
    well = {"tenant": "acme", "who": "lea", "text": f"fact contact_info/city: {MEMO}", "at": "2026-11-20T10:00:00Z"}
    broken: list[Any] = [
        {**well, "who": {"name": BROKEN}},
        {**well, "text": [BROKEN]},
        {**well, "at": BROKEN},
        {**well, "tenant": None, "who": BROKEN},
        BROKEN,
    ]
    return [orjson.dumps(document) for document in (well, *broken)] + [f"{{{BROKEN}".encode()]


@dataclass(frozen=True)
class Installation:
    """A system on services that want passwords, and a way to write to it like any producer."""

    shell: CommandLine
    server: ScriptedOpenAI
    guarded: GuardedBroker
    admin_url: str
    prefix: str
    outputs: list[Background] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        """Of a Kafka client."""
        return load_settings(environ=self.shell.environment).kafka.client_options()

    async def produce(
        self, *values: dict[str, Any] | bytes, topic: str = "chat-messages", key: str | None = None, **headers: str
    ) -> None:
        """Every record has a header with a canary; the key is the user, if none is given."""
        async with AIOKafkaProducer(**self.options, max_request_size=4 << 20) as producer:
            for value in values:
                user = value.get("user_id", "eve") if isinstance(value, dict) else "eve"
                await producer.send_and_wait(
                    f"{self.prefix}{topic}",
                    value if isinstance(value, bytes) else orjson.dumps(value),
                    key=(key or user).encode(),
                    headers=[("x-trace", HEADER.encode()), *((name, text.encode()) for name, text in headers.items())],
                )

    async def command(self, *arguments: str, fails: bool = False) -> str:
        return (await asyncio.to_thread(self.shell.run, *arguments, fails=fails)).stdout

    async def dead_letters(self) -> list[dict[str, str]]:
        """What is said about them, in headers."""
        topic = f"{self.prefix}dead-letters"
        reading = {"auto_offset_reset": "earliest", "isolation_level": "read_committed"}
        async with AIOKafkaConsumer(topic, **self.options, **reading) as consumer:
            while not (places := list(consumer.assignment())):
                await asyncio.sleep(0.1)
            ends = await consumer.end_offsets(places)
            found: list[dict[str, str]] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        headers = dict(record.headers)
                        found.append({name: headers[name].decode() for name in headers if name.startswith(OF_ERRORS)})
            return found

    @asynccontextmanager
    async def worker(self, log_format: str) -> AsyncIterator[Background]:
        shell = self.shell.with_variables(MEMOSTREAM_WORKER__LOG_FORMAT=log_format)
        with ExitStack() as stack:
            started = shell.background("worker", until="worker.started")
            running = await asyncio.to_thread(stack.enter_context, started)
            self.outputs.append(running)
            yield running

    async def execute(self, statement: str) -> None:
        await execute(self.admin_url, statement)


@pytest.fixture
async def role(postgres_admin_url: str) -> AsyncIterator[str]:
    """A database user with the password that must not be seen."""
    name = f"role_{uuid.uuid4().hex[:8]}"
    await execute(postgres_admin_url, f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{DATABASE_PASSWORD}'")
    yield name
    await execute(postgres_admin_url, f"DROP ROLE {name}")


@pytest.fixture
async def installation(
    tmp_path: Path, service_folder: Path, role: str, database_url: str, topic_prefix: str
) -> AsyncIterator[Installation]:
    url = make_url(database_url).set(username=role, password=DATABASE_PASSWORD)
    folder = service_folder / f"guarded-{uuid.uuid4().hex[:8]}"
    async with (
        guarded_broker(folder, SASL_USER, BROKER_PASSWORD) as guarded,
        ScriptedOpenAI(answer, dimension=DIMENSION) as server,
    ):
        shell = CommandLine.of(
            tmp_path,
            kafka=guarded.address,
            database_url=url.render_as_string(hide_password=False),
            prefix=topic_prefix,
            MEMOSTREAM_KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
            MEMOSTREAM_KAFKA__SASL_USERNAME=SASL_USER,
            MEMOSTREAM_KAFKA__SASL_PASSWORD=BROKER_PASSWORD,
            MEMOSTREAM_BUFFER__MAX_BLOB_BYTES=str(1 << 18),
            MEMOSTREAM_EXTRACTION__PROVIDER="openai",
            MEMOSTREAM_EXTRACTION__SYSTEM_PROMPT=f"You remember. {PROMPT}",
            MEMOSTREAM_EXTRACTION__HOLD_AFTER_S="1",
            MEMOSTREAM_EXTRACTION__RETRY_MIN_S="0.1",
            MEMOSTREAM_EXTRACTION__RETRY_MAX_S="0.5",
            MEMOSTREAM_INGEST__SOURCES=orjson.dumps([{"topic": f"{topic_prefix}{FOREIGN}", **MAPPING}]).decode(),
            MEMOSTREAM_LLM__BASE_URL=server.base_url,
            MEMOSTREAM_LLM__API_KEY=API_KEY,
            MEMOSTREAM_LLM__DEFAULT_HEADERS=f'{{"X-Team": "{API_HEADER}"}}',
            MEMOSTREAM_LLM__DEFAULT_QUERY=f'{{"signature": "{API_QUERY}"}}',
            MEMOSTREAM_LLM__MAX_RETRIES="0",
            MEMOSTREAM_EMBEDDING__DIMENSION=str(DIMENSION),
            MEMOSTREAM_WORKER__LOG_LEVEL="debug",
            # The SDK's own switch, which shows whole requests.
            OPENAI_LOG="debug",
        )
        system = Installation(shell, server, guarded, plain_dsn(database_url), topic_prefix)
        admin = AIOKafkaAdminClient(**system.options)
        await admin.start()
        await admin.create_topics([NewTopic(f"{topic_prefix}{FOREIGN}", num_partitions=3, replication_factor=1)])
        await admin.close()
        yield system


async def ask_in_every_way(system: Installation, worker: Background) -> None:
    """Messages that the model answers, refuses and garbles, and an endpoint that fails each way once."""
    await system.produce(told("ann"), told("ben"), told("eve"))
    await system.produce(chat("ref", REFUSED, MESSAGE), chat("gar", GARBLED, MESSAGE))
    await system.command("flush", "--all")
    # Other words about the same, so that a merge is asked for; and under a key that is not the user's.
    await system.produce(chat("ann", f"fact contact_info/city: {MEMO}2"), key=RECORD_KEY)
    await system.command("flush", "--all")
    for name, fault in FAULTS.items():
        system.server.always = fault
        user = f"user-{name}"
        await system.produce(told(user), {"user_id": user, "command": "flush"})
        # Its first line in the log says that it waits.
        await asyncio.to_thread(worker.wait_for, user, WAIT_S)
    system.server.always = None
    await system.command("flush", "--all", "--wait-held")


async def send_what_is_broken(system: Installation) -> None:
    await system.produce(*broken_records())
    await system.produce(chat("eve", MESSAGE, id="same"), chat("eve", f"{MESSAGE} again", id="same"))
    await system.produce(chat("eve", MESSAGE), **{"__memostream.origin.topic": BROKEN})
    await system.produce(chat("eve", MESSAGE), **{"__memostream.id": ""})
    await system.produce(chat("eve", MESSAGE), ce_specversion="1.0", ce_type=BROKEN, ce_time=BROKEN)
    await system.produce(*foreign_records(), topic=FOREIGN, key=RECORD_KEY)
    await system.command("flush", "--all")


async def lose_the_broker(system: Installation, worker: Background) -> None:
    await system.guarded.broker.stop()
    await asyncio.to_thread(worker.wait_for, "Unable connect", WAIT_S)
    await system.guarded.broker.start()
    await system.produce(told("zoe"))
    await system.command("flush", "zoe")


async def end_on_a_row_that_is_refused(system: Installation, worker: Background) -> int:
    """Postgres quotes the whole row in its error; nobody expects that error, so it ends the worker."""
    check = f"CHECK (content NOT LIKE '%{FORBIDDEN}%')"
    await system.execute(f"ALTER TABLE profiles ADD CONSTRAINT nothing_forbidden {check}")
    await system.produce(chat("kim", f"fact contact_info/city: {FORBIDDEN}"))
    await system.command("flush", "kim", "--timeout-s", "2", fails=True)
    exit_code = await asyncio.to_thread(worker.process.wait, WAIT_S)
    await system.execute("ALTER TABLE profiles DROP CONSTRAINT nothing_forbidden")
    return exit_code


def letters_of(text: str) -> str:
    """What was written without a terminal's colours, frames and line breaks: letters and digits only."""
    return re.sub(r"\x1b\[[0-9;]*m|[^A-Za-z0-9]", "", text)


def seen(text: str) -> set[str]:
    return set(CANARY.findall(letters_of(text)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_word_of_a_user_a_prompt_or_a_secret_is_in_the_log(
    installation: Installation, log_format: str
) -> None:
    system = installation
    async with system.worker(log_format) as worker:
        await ask_in_every_way(system, worker)
        await send_what_is_broken(system)
        await lose_the_broker(system, worker)
        assert await end_on_a_row_that_is_refused(system, worker) == 1
    async with system.worker(log_format) as again:
        await system.command("flush", "--all", "--wait-held")
        profile = await system.command("profile", "kim")
        assert again.stop() == 0

    output = "".join(background.output() for background in system.outputs)
    # All of it has happened, and every canary was where it could have been seen.
    for event in (
        "buffer.committed",
        "ingest.committed",
        "extraction.applied",
        "extraction.waiting",
        "extraction.held",
        "holds.applied",
        "relay.published",
        "worker.failed",
    ):
        assert event in output, event
    assert letters_of("CheckViolationError (23514)") in letters_of(output)
    assert FORBIDDEN in profile
    asked = [call for call in system.server.calls if call.kind != "embed"]
    assert {call.kind for call in asked} == {"extract", "merge"}
    assert all(call.headers["Authorization"] == f"Bearer {API_KEY}" for call in asked)
    assert all((call.headers["X-Team"], call.query["signature"]) == (API_HEADER, API_QUERY) for call in asked)
    assert {MESSAGE, MEMO, GIST, ALIAS, PROMPT} <= set(CANARY.findall("".join(call.prompt for call in asked)))
    refused = await system.dead_letters()
    stages = [letter[f"{OF_ERRORS}stage"] for letter in refused]
    assert stages.count("buffer") >= len(broken_records())
    assert stages.count("ingest") == len(foreign_records()) - 1

    assert not seen(output)
    assert not seen("".join(text for letter in refused for text in letter.values()))


async def test_a_worker_that_is_not_let_in_says_so_without_its_password(installation: Installation) -> None:
    shell = installation.shell.with_variables(MEMOSTREAM_KAFKA__SASL_PASSWORD=f"{BROKER_PASSWORD}2")
    refused = await asyncio.to_thread(shell.run, "worker", fails=True)
    assert "credentials" in refused.stderr
    assert not seen(refused.stdout + refused.stderr)
