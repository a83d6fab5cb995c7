"""Rows without an embedding get one in the background: once, counted, and never over what somebody wrote meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.dependencies import Clock, ExtractionDeps
from agents.embedding_filler import BATCH_ROWS, EmbeddingFiller, shares_of
from schemas.budgets import BudgetSettings
from schemas.errors import ContentRejected, RetryLater, UnexplainedRefusal
from schemas.memory import Usage, slot_text
from schemas.settings import BufferSettings, ExtractionSettings, StorageSettings, WorkerSettings
from storage.database import create_engine
from storage.tables import gists, usage
from tests.integration.storage.builders import remember, rows_of
from tests.support.memories import SAID, Meanings, Memories


class Unused:
    """The extractor, which filling does not ask."""


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


def filler_on(engine: AsyncEngine, embedder: Meanings, **more: Any) -> EmbeddingFiller:
    unused: Any = Unused()
    deps = ExtractionDeps(
        engine=engine,
        extractor=unused,
        extraction=ExtractionSettings(),
        buffer=BufferSettings(),
        worker=WorkerSettings(),
        fatal=_raise,
        **{"clock": Clock(now=lambda: SAID), **more},
    )
    return EmbeddingFiller(deps, embedder, poll_s=0.01)


def _raise(error: BaseException) -> None:
    raise error


async def missing(engine: AsyncEngine) -> list[str]:
    """The texts without an embedding."""
    query = text(
        "SELECT content FROM profiles WHERE embedding IS NULL UNION ALL SELECT text FROM gists WHERE embedding IS NULL "
        "UNION ALL SELECT summary FROM events WHERE embedding IS NULL AND summary <> '' ORDER BY 1"
    )
    async with engine.connect() as connection:
        return list((await connection.execute(query)).scalars())


async def test_all_that_is_missing_is_embedded_in_one_call(engine: AsyncEngine) -> None:
    embedder = Meanings()
    await Memories(engine, is_embedded=False).event("a dog", "her cat", "a job")
    await Memories(engine, is_embedded=False).event(None, "drinks tea")
    await Memories(engine, is_embedded=False).entry("contact_info", "home_town", "Oslo")
    await Memories(engine, user_id="ben").event("a cat")
    filler = filler_on(engine, embedder)
    assert await filler.fill_some() == 5
    assert await missing(engine) == []
    ((texts, are_questions),) = embedder.calls
    assert texts[0] == slot_text("contact_info", "home_town", "Oslo") == "contact info home town: Oslo"
    assert (set(texts[1:]), are_questions) == ({"a dog", "her cat", "a job", "drinks tea"}, False)
    assert await filler.fill_some() == 0
    assert len(embedder.calls) == 1


async def test_a_merged_entry_is_embedded_anew_and_a_new_one_is_not_asked_for_again(engine: AsyncEngine) -> None:
    embedder = Meanings()
    await remember(engine, "b1", "works at Acme", offset=1)
    await filler_on(engine, embedder).fill_some()
    await remember(engine, "b2", "works at the city office", offset=2)
    assert await missing(engine) == ["works at the city office"]
    await filler_on(engine, embedder).fill_some()
    assert [texts for texts, _ in embedder.calls][-1] == [slot_text("work", "company", "works at the city office")]
    assert await missing(engine) == []


async def test_a_text_that_changes_during_the_call_keeps_its_own_turn(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "a dog", "her cat")

    class Edited(Meanings):
        async def embed(self, texts: Sequence[str], *, are_questions: bool = False) -> Any:
            async with engine.begin() as connection:
                await connection.execute(update(gists).where(gists.c.text == "a dog").values(text="a job"))
            return await super().embed(texts, are_questions=are_questions)

    await filler_on(engine, Edited()).fill_some()
    assert await missing(engine) == ["a job"]
    embedder = Meanings()
    await filler_on(engine, embedder).fill_some()
    assert (embedder.calls, await missing(engine)) == ([(["a job"], False)], [])


async def test_a_row_that_somebody_holds_is_not_waited_for(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "a dog", "her cat")
    filler = filler_on(engine, Meanings())
    async with engine.begin() as connection:
        await connection.execute(select(gists).where(gists.c.text == "a dog").with_for_update())
        async with asyncio.timeout(30):
            assert await filler.fill_some() == 1
    assert await missing(engine) == ["a dog"]
    assert await filler.fill_some() == 1
    assert await missing(engine) == []


async def test_two_fillers_share_the_work(engine: AsyncEngine) -> None:
    memories = Memories(engine, is_embedded=False)
    await memories.event(None, *(f"dog {number}" for number in range(2 * BATCH_ROWS)))
    first, second = Meanings(), Meanings()
    await asyncio.gather(filler_on(engine, first).fill_some(), filler_on(engine, second).fill_some())
    done = [line for embedder in (first, second) for texts, _ in embedder.calls for line in texts]
    assert len(done) == len(set(done)) == 2 * BATCH_ROWS
    assert await missing(engine) == []


async def test_one_refused_text_costs_no_other_its_embedding(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "a dog", "poison", "her cat", "a job", "qwrtz")

    class Picky(Meanings):
        async def embed(self, texts: Sequence[str], *, are_questions: bool = False) -> Any:
            if "poison" in texts:
                raise ContentRejected("refused")
            return await super().embed(texts, are_questions=are_questions)

    embedder = Picky()
    await filler_on(engine, embedder).fill_some()
    assert await missing(engine) == ["poison", "qwrtz"]
    later = filler_on(engine, embedder, clock=Clock(now=lambda: SAID + timedelta(days=1)))
    assert await later.fill_some() == 0


async def test_what_is_refused_without_a_reason_is_tried_again_later(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "a dog")
    embedder = Meanings()
    embedder.fault = UnexplainedRefusal("no form of it")
    await filler_on(engine, embedder).fill_some()
    embedder.fault = None
    assert await filler_on(engine, embedder).fill_some() == 0
    assert await filler_on(engine, embedder, clock=Clock(now=lambda: SAID + timedelta(hours=2))).fill_some() == 1
    assert await missing(engine) == []


async def test_an_endpoint_that_is_away_is_asked_again_when_the_claim_is_over(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "a dog")
    embedder = Meanings()
    embedder.fault = RetryLater("away")
    with pytest.raises(RetryLater):
        await filler_on(engine, embedder).fill_some()
    embedder.fault = None
    assert await filler_on(engine, embedder, clock=Clock(now=lambda: SAID + timedelta(hours=1))).fill_some() == 1
    assert await missing(engine) == []


async def test_what_it_costs_is_written_to_those_whose_texts_they_were(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "a dog")
    await Memories(engine, user_id="ben", is_embedded=False).event(None, "a cat", "her cats")
    await filler_on(engine, Meanings()).fill_some()
    rows = await rows_of(engine, usage, "user_id", "model", "outcome", "embedding_tokens", "embedding_calls")
    assert {row[0] for row in rows} == {"ann", "ben"}
    assert {(row[1], row[2]) for row in rows} == {("meanings", "embedded")}
    assert (sum(row[3] for row in rows), sum(row[4] for row in rows)) == (30, 1)


async def test_a_used_up_budget_puts_a_user_off_until_tomorrow(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "a dog", "a cat")
    budget = BudgetSettings(user_tokens_a_day=1)
    embedder = Meanings()
    await filler_on(engine, embedder, budget=budget).fill_some()
    await Memories(engine, is_embedded=False).event(None, "a job")
    assert await filler_on(engine, embedder, budget=budget).fill_some() == 1
    assert (len(embedder.calls), await missing(engine)) == (1, ["a job"])
    tomorrow = Clock(now=lambda: SAID + timedelta(days=1))
    await filler_on(engine, embedder, budget=budget, clock=tomorrow).fill_some()
    assert await missing(engine) == []


async def test_it_runs_until_it_is_cancelled(engine: AsyncEngine) -> None:
    running = asyncio.create_task(filler_on(engine, Meanings()).run())
    await Memories(engine, is_embedded=False).event("a dog", "a cat")
    async with asyncio.timeout(60):
        while await missing(engine):
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_call_for_several_is_divided_by_the_length_of_their_texts() -> None:
    spent = Usage(embedding_calls=1, embedding_tokens=10, latency_ms=7).of_model("small")
    shares = dict(shares_of(spent, {("p", "ann"): 2, ("p", "ben"): 1, ("q", "ann"): 0}))
    assert shares == {
        ("p", "ann"): Usage(embedding_calls=1, embedding_tokens=7, latency_ms=7),
        ("p", "ben"): Usage(embedding_tokens=3),
    }
    assert [dict(share.models)["small"].embedding_tokens for share in shares.values()] == [7, 3]
