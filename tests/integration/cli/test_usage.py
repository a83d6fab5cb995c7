"""`memostream usage` on what is written in a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.memory import Usage
from schemas.settings import StorageSettings
from schemas.windows import Position
from storage.database import create_engine
from storage.usage import Attempt, ModelCalls, UsageOutcome, record_usage
from tests.integration.storage.shadow_rows import seed_shadow
from tests.support.command_line import CommandLine

TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
LONG_AGO = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
CHAT = ModelCalls(
    "chat",
    Usage(completions=2, prompt_tokens=1000, completion_tokens=100, cached_tokens=600, latency_ms=3000),
    Decimal("0.0125"),
)
VECTORS = ModelCalls("vectors", Usage(embedding_calls=1, embedding_tokens=70, latency_ms=100), None)
CHAT_OF_ANOTHER = ModelCalls("large", Usage(completions=1, prompt_tokens=10), Decimal("0.5"))
SAID = Position(topic="chat-messages", partition=0, offset=0, timestamp_ms=0)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


@pytest.fixture
async def shell(tmp_path: Path, database_url: str) -> CommandLine:
    """An installation with four attempts: two of today, two of a day long ago."""
    written: list[tuple[str, str, UsageOutcome, tuple[ModelCalls, ...], datetime]] = [
        ("default", "ann", "applied", (CHAT, VECTORS), TODAY),
        ("default", "bob", "waiting", (CHAT,), TODAY),
        ("default", "ann", "applied", (CHAT,), LONG_AGO),
        ("shop", "ann", "parked", (CHAT, CHAT_OF_ANOTHER), LONG_AGO + timedelta(hours=11, minutes=59)),
    ]
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    async with engine.begin() as connection:
        for project_id, user_id, outcome, calls, moment in written:
            attempt = Attempt(uuid4(), project_id, user_id, (), (SAID,), outcome, calls, moment)
            await record_usage(connection, attempt)
    await engine.dispose()
    return CommandLine.of(tmp_path, kafka="127.0.0.1:1", database_url=database_url, prefix="")


async def test_by_default_it_sums_up_the_days_of_the_last_thirty(shell: CommandLine) -> None:
    document = shell.document("usage")
    (row,) = document["rows"]
    assert row == {
        "day": str(TODAY.date()),
        "extractions": 1,
        "unfinished": 1,
        "completions": 4,
        "embedding_calls": 1,
        "prompt_tokens": 2000,
        "completion_tokens": 200,
        "cached_tokens": 1200,
        "embedding_tokens": 70,
        "latency_ms": 6100,
        "cost": 0.025,
        "unpriced_tokens": 70,
    }
    assert document["sum"] == {key: value for key, value in row.items() if key != "day"}
    assert document["currency"] == "USD"


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (("--by", "project"), [{"project_id": "shop", "cost": 0.5125}, {"project_id": "default", "cost": 0.0125}]),
        (("--by", "user", "--project", "default"), [{"project_id": "default", "user_id": "ann", "extractions": 1}]),
        (("--by", "model", "--user", "ann"), [{"model": "large", "completions": 1}, {"model": "chat", "cost": 0.025}]),
        (("--by", "day"), [{"day": "2026-03-05", "extractions": 2, "cost": 0.525}]),
    ],
)
async def test_a_period_is_summed_up_by_what_is_asked_for(
    shell: CommandLine, options: tuple[str, ...], rows: list[dict[str, Any]]
) -> None:
    document = shell.document("usage", *options, "--since", "2026-03-05", "--until", "2026-03-05")
    assert [{key: row[key] for key in wanted} for row, wanted in zip(document["rows"], rows, strict=True)] == rows


async def test_the_table_has_a_line_each_a_sum_and_a_word_on_what_has_no_price(shell: CommandLine) -> None:
    done = shell.call("usage", "--by", "user", "--since", "2026-03-01")
    assert max(map(len, done.stdout.splitlines())) <= 100
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["default", "ann", "2", "0", "5", "2,000", "1,200", "200", "70", "3.0", "0.0250"] in lines
    assert ["shop", "ann", "1", "0", "3", "1,010", "600", "100", "0", "3.0", "0.5125"] in lines
    assert ["sum", "3", "1", "10", "4,010", "2,400", "400", "70", "3.0", "0.5500"] in lines
    assert "70 tokens had no price" in done.stderr


async def test_a_period_without_extractions_says_so(shell: CommandLine) -> None:
    assert (
        "nothing was extracted from 2026-01-01 to 2026-01-02"
        in shell.call("usage", "--since", "2026-01-01", "--until", "2026-01-02").stderr
    )
    document = shell.document("usage", "--user", "nobody")
    assert (document["rows"], document["sum"]["extractions"], document["sum"]["cost"]) == ([], 0, 0.0)


async def test_a_period_that_ends_before_it_begins_is_refused(shell: CommandLine) -> None:
    done = shell.call("usage", "--since", "2026-03-05", "--until", "2026-03-04", fails=True)
    assert "--since 2026-03-05 must not be after --until 2026-03-04" in done.stderr


async def test_what_was_spent_for_a_shadow_is_in_the_sum_and_has_a_line_of_its_own(
    shell: CommandLine, engine: AsyncEngine
) -> None:
    generation = await seed_shadow(engine, "better")
    async with engine.begin() as connection:
        attempt = Attempt(uuid4(), "default", "ann", (), (SAID,), "applied", (CHAT,), TODAY, shadow=generation)
        await record_usage(connection, attempt)
    document = shell.document("usage", "--by", "shadow")
    assert [(row["shadow"], row["completions"]) for row in document["rows"]] == [(None, 4), ("better", 2)]
    assert (document["sum"]["completions"], document["sum_live"]["completions"]) == (6, 4)
    assert "better" in shell.call("usage", "--by", "shadow").stdout
    assert "shadows (0.0125" in shell.call("usage").stderr
