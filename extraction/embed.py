"""The embed step: gists and summary of an extraction in one batched call."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from extraction.protocol import Embedder
from schemas.memory import Embedding, Extraction


async def embed(extraction: Extraction, embedder: Embedder) -> Extraction:
    """The extraction with its embeddings; unchanged, without a call, where nothing is left to embed."""
    gists = [gist for gist in extraction.gists if gist.embedding is None]
    summary = extraction.summary if extraction.summary_embedding is None else None
    texts = list(dict.fromkeys([*(gist.text for gist in gists), *([summary] if summary else [])]))
    if not texts:
        return extraction
    vectors, usage = await embedder.embed(texts)
    by_text = {text: _row(vectors, row) for row, text in enumerate(texts)}
    return replace(
        extraction,
        gists=tuple(
            replace(gist, embedding=by_text[gist.text]) if gist.embedding is None else gist for gist in extraction.gists
        ),
        summary_embedding=by_text[summary] if summary else extraction.summary_embedding,
        usage=extraction.usage + usage,
    )


def _row(vectors: NDArray[np.float32], row: int) -> Embedding | None:
    # A row of zeros has no direction; cosine distance to it is undefined in the database.
    vector = vectors[row]
    return vector if vector.any() else None
