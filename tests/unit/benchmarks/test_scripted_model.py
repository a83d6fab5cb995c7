"""The model of the whole path is asked by the real steps, and its answers pass their checks."""

from datetime import UTC, datetime
from uuid import uuid4

from benchmarks.scripted_model import DIMENSION, FACTS, GISTS, ScriptedModel
from benchmarks.whole_path import settings_of
from extraction.factory import create_extractor
from schemas.conversation import Message
from schemas.memory import Profile, Slot
from schemas.policies import policy_of
from schemas.windows import MessageId

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SETTINGS = settings_of("127.0.0.1:9092", "postgresql+asyncpg://nobody@127.0.0.1/none", 1024)
MESSAGES = [Message(MessageId(f"blob/{index}"), "user", f"I went to Oslo, {index}", NOW) for index in range(3)]


async def test_a_window_gets_facts_and_gists_with_vectors_and_taken_slots_are_merged() -> None:
    model, policy = ScriptedModel(), policy_of(SETTINGS)
    extractor = create_extractor(SETTINGS, http=model.client())
    extraction = await extractor.extract(MESSAGES, Profile(), policy)
    taken = [Slot(uuid4(), fact.topic, fact.sub_topic, "before", NOW) for fact in extraction.facts[:2]]
    update = await extractor.merge(extraction, Profile(1, tuple(taken)), policy)
    await extractor.close()
    assert model.calls == {"extract": 1, "merge": 1, "embed": 1}
    assert [change.before for change in update.changes].count("before") == 2
    assert (len(update.changes), len(update.extraction.gists)) == (FACTS, GISTS)
    assert all(gist.embedding is not None and gist.embedding.shape == (DIMENSION,) for gist in update.extraction.gists)
