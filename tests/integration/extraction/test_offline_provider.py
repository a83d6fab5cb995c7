"""The offline provider as a whole, with its bundled embeddings: no socket is opened."""

import numpy as np
import pytest

from extraction.factory import create_embedder, create_extractor
from schemas.errors import ConfigurationError
from schemas.memory import Profile
from schemas.profile_schema import ProfilePolicy
from schemas.settings import Settings
from tests.unit.extraction.builders import applied, contents, said


async def test_a_conversation_becomes_a_profile_and_embedded_events() -> None:
    extractor = create_extractor(Settings())
    extraction = await extractor.extract(
        said("I moved to Oslo. I have two dogs.", "我喜欢爬山"), Profile(), ProfilePolicy()
    )
    update = await extractor.merge(extraction, Profile(), ProfilePolicy())
    assert contents(applied(Profile(), update)) == {
        "life_event/relocation": "moved to Oslo",
        "contact_info/city": "Oslo",
        "lifestyle/pets": "has two dogs",
        "interest/outdoors": "喜欢爬山",
    }
    vectors = [update.extraction.gists[0].embedding, update.extraction.summary_embedding]
    for vector in vectors:
        assert vector is not None
        assert vector.shape == (256,)
        assert vector.dtype == np.dtype(np.float32)
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


async def test_it_says_what_it_is() -> None:
    identity = create_extractor(Settings()).identity(ProfilePolicy())
    assert identity.name == "offline"
    assert identity.model.startswith("rules-")
    assert len(identity.prompt_hash) == 64


async def test_merging_again_embeds_nothing_again() -> None:
    extractor = create_extractor(Settings())
    update = await extractor.merge(
        await extractor.extract(said("I moved to Oslo."), Profile(), ProfilePolicy()), Profile(), ProfilePolicy()
    )
    assert (await extractor.merge(update.extraction, Profile(), ProfilePolicy())).usage == update.usage


async def test_embeddings_of_related_texts_are_nearer_than_of_others() -> None:
    embedder = create_embedder(Settings())
    assert embedder is not None
    vectors, _ = await embedder.embed(["has two dogs", "owns a puppy", "works at a bank"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


async def test_a_text_without_words_has_a_row_of_zeros() -> None:
    embedder = create_embedder(Settings())
    assert embedder is not None
    vectors, _ = await embedder.embed(["", "dogs"])
    assert not vectors[0].any()
    assert vectors[1].any()


@pytest.mark.parametrize(
    "embedding", [{"dimension": 1536}, {"model": "text-embedding-3-small"}, {"base_url": "http://127.0.0.1:1"}]
)
def test_embedding_settings_that_it_cannot_follow_are_refused(embedding: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="embedding"):
        create_extractor(Settings.model_validate({"embedding": embedding}))
