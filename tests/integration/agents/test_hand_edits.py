"""Edits by hand while a window of the same user is being extracted, on a real database with the real pipeline."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.dependencies import utc_now
from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.conversation import Message
from schemas.memory import Extraction, ExtractorIdentity, MemoryUpdate, Profile
from schemas.profile_schema import ProfilePolicy
from schemas.settings import Settings
from schemas.windows import Window
from storage.browsing import read_history, read_profile_entries
from storage.editing import Edits
from storage.editing_profiles import add_entry, change_entry, remove_entry
from storage.profile_writing import ProfileRow
from tests.support.extracting import unit, window
from tests.support.settling import Bench

USER = ("default", "u1")
Edit = Callable[[Edits], Awaitable[object]]


class Overtaken:
    """An extractor that is as slow as a model: what `meanwhile` does, it does after the first merge is decided."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.merges = 0

    def identity(self, policy: ProfilePolicy) -> ExtractorIdentity:
        return self._extractor.identity(policy)

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        return await self._extractor.extract(messages, profile, policy)

    async def merge(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MemoryUpdate:
        self.merges += 1
        update = await self._extractor.merge(extraction, profile, policy)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return update

    async def close(self) -> None:
        await self._extractor.close()


@pytest.fixture
async def bench(engine: AsyncEngine) -> Bench[Overtaken]:
    return Bench(engine, Overtaken(create_extractor(Settings.model_validate({"extraction": {"provider": "offline"}}))))


async def by_hand(engine: AsyncEngine, edit: Edit) -> None:
    async with engine.begin() as connection:
        await edit(Edits(connection, utc_now(), uuid4, 1 << 20))


async def profile_of(engine: AsyncEngine) -> dict[tuple[str, str], ProfileRow]:
    async with engine.connect() as connection:
        rows = await read_profile_entries(connection, *USER)
    return {(row.topic, row.sub_topic): row for row in rows}


def says(blob_id: str, text: str, *, later: timedelta = timedelta()) -> Window:
    said = unit(blob_id, text)
    moment_ms = int((utc_now() + later).timestamp() * 1000)
    return window(said.model_copy(update={"occurred_at_ms": moment_ms, "recorded_at_ms": moment_ms}))


async def home_of(bench: Bench[Overtaken]) -> tuple[tuple[str, str], ProfileRow]:
    """The slot that the offline rules choose for a city."""
    await bench.settle(says("first", "I live in Oslo."))
    ((slot, row),) = (item for item in (await profile_of(bench.engine)).items() if item[1].content == "Oslo")
    return slot, row


async def test_an_entry_changed_while_a_window_is_merged_is_merged_with_and_not_written_over(
    bench: Bench[Overtaken],
) -> None:
    slot, row = await home_of(bench)

    async def meanwhile() -> None:
        await by_hand(bench.engine, lambda edits: change_entry(edits, *USER, row.profile_id, "Bergen", None))

    bench.extractor.meanwhile = meanwhile
    merges = bench.extractor.merges
    await bench.settle(says("second", "I live in Hamar. I work as a nurse."))

    profile = await profile_of(bench.engine)
    assert bench.extractor.merges == merges + 2
    assert (profile[slot].profile_id, profile[slot].content) == (row.profile_id, "Bergen")
    # The window's other facts are not lost with it.
    assert any(entry.content == "nurse" for entry in profile.values())
    async with bench.engine.connect() as connection:
        history = [item for item in await read_history(connection, *USER) if (item.topic, item.sub_topic) == slot]
    assert [item.after for item in reversed(history)] == ["Oslo", "Bergen"]


async def test_an_entry_removed_while_a_window_is_merged_stays_removed(bench: Bench[Overtaken]) -> None:
    slot, row = await home_of(bench)

    async def meanwhile() -> None:
        await by_hand(bench.engine, lambda edits: remove_entry(edits, *USER, row.profile_id))

    bench.extractor.meanwhile = meanwhile
    await bench.settle(says("second", "I live in Hamar."))
    assert slot not in await profile_of(bench.engine)


async def test_what_is_said_after_an_edit_counts_again(bench: Bench[Overtaken]) -> None:
    slot, row = await home_of(bench)
    await by_hand(bench.engine, lambda edits: remove_entry(edits, *USER, row.profile_id))
    await bench.settle(says("second", "I live in Hamar.", later=timedelta(seconds=5)))
    assert (await profile_of(bench.engine))[slot].content == "Hamar"


async def test_an_entry_added_while_a_window_fills_the_same_slot_is_kept(bench: Bench[Overtaken]) -> None:
    slot, row = await home_of(bench)
    await by_hand(bench.engine, lambda edits: remove_entry(edits, *USER, row.profile_id))
    ids: list[UUID] = []

    async def meanwhile() -> None:
        async with bench.engine.begin() as connection:
            edits = Edits(connection, utc_now(), uuid4, 1 << 20)
            ids.append(await add_entry(edits, *USER, slot, "Bergen", lambda held, said: f"{held}; {said}"))

    bench.extractor.meanwhile = meanwhile
    await bench.settle(says("second", "I live in Hamar.", later=timedelta(seconds=5)))
    entry = (await profile_of(bench.engine))[slot]
    async with bench.engine.connect() as connection:
        history = await read_history(connection, *USER)
    # What was said later may replace it, by a merge that has seen it.
    assert [entry.profile_id] == ids
    assert any((item.before, item.after) == ("Bergen", entry.content) for item in history)


async def test_many_edits_beside_many_windows_all_arrive(bench: Bench[Overtaken]) -> None:
    """As a person who edits one entry again and again while messages come in: every edit has its row of history."""
    slot, row = await home_of(bench)
    wanted = [f"town {number}" for number in range(15)]

    async def edit() -> None:
        for content in wanted:

            async def change(edits: Edits, content: str = content) -> bool:
                return await change_entry(edits, *USER, row.profile_id, content, None)

            await by_hand(bench.engine, change)
            await asyncio.sleep(0.01)

    async def extract() -> None:
        for number in range(8):
            assert await bench.settle(says(f"blob {number}", f"I like sport {number}."))

    await asyncio.gather(edit(), extract())
    async with bench.engine.connect() as connection:
        history = await read_history(connection, *USER)
    edits = [item.after for item in reversed(history) if item.why == "edited"]
    assert edits == wanted
    assert (await profile_of(bench.engine))[slot].content == wanted[-1]
    assert {row[2] for row in await bench.unit_states()} == {"applied"}
