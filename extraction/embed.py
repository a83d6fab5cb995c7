"""The embed step: gists and summary of an extraction, and what will be new slots, in one batched call."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from extraction.protocol import Embedder
from schemas.memory import Embedding, Extraction


async def embed(extraction: Extraction, embedder: Embedder, slot_texts: Iterable[str] = ()) -> Extraction:
    """The extraction with its embeddings; unchanged, without a call, where no gist and no summary is left to embed.

    Slots come along in that call and are not worth one of their own: what has no embedding is embedded later.
    """
    gists = [gist for gist in extraction.gists if gist.embedding is None]
    summary = extraction.summary if extraction.summary_embedding is None else None
    if not gists and not summary:
        return extraction
    slots = list(dict.fromkeys(slot_texts))
    texts = list(dict.fromkeys([*(gist.text for gist in gists), *([summary] if summary else []), *slots]))
    vectors, usage = await embedder.embed(texts)
    by_text = {text: _row(vectors, row) for row, text in enumerate(texts)}
    of_slots = ((text, by_text[text]) for text in slots)
    return replace(
        extraction,
        gists=tuple(
            replace(gist, embedding=by_text[gist.text]) if gist.embedding is None else gist for gist in extraction.gists
        ),
        summary_embedding=by_text[summary] if summary else extraction.summary_embedding,
        usage=extraction.usage + usage,
        slot_embeddings=(
            *extraction.slot_embeddings,
            *((text, vector) for text, vector in of_slots if vector is not None),
        ),
    )


def _row(vectors: NDArray[np.float32], row: int) -> Embedding | None:
    # A row of zeros has no direction; cosine distance to it is undefined in the database.
    vector = vectors[row]
    return vector if vector.any() else None
