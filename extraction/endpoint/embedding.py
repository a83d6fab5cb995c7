"""Embeddings from an OpenAI-compatible endpoint."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import openai
from numpy.typing import NDArray
from openai.types import CreateEmbeddingResponse

from extraction.endpoint.client import call, token_count
from extraction.endpoint.failures import translate
from schemas.errors import EndpointRefused, RetryLater
from schemas.memory import Usage

# Models that can shorten their vectors; others refuse the parameter.
_SHORTENED: Final = "text-embedding-3"


@dataclass(frozen=True, slots=True)
class EndpointEmbedder:
    """An Embedder; vectors come as base64, since lists of numbers take longer to parse than all else."""

    client: openai.AsyncOpenAI
    model: str
    dimension: int
    max_retries: int

    async def embed(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], Usage]:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32), Usage()
        request: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "base64"}
        if self.model.startswith(_SHORTENED):
            request["dimensions"] = self.dimension
        try:
            response: CreateEmbeddingResponse = await call(
                lambda: self.client.embeddings.create(**request), self.max_retries
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise translate(error, datetime.now(UTC)) from error
        vectors = self._vectors(response, len(texts))
        counted = getattr(response, "usage", None)
        return vectors, Usage(embedding_calls=1, embedding_tokens=token_count(counted, "prompt_tokens"))

    async def close(self) -> None:
        await self.client.close()

    def _vectors(self, response: CreateEmbeddingResponse, count: int) -> NDArray[np.float32]:
        rows = list(getattr(response, "data", None) or ())
        if len(rows) != count:
            raise RetryLater("the endpoint answered with another number of embeddings than asked for")
        try:
            rows.sort(key=lambda item: item.index)
            vectors = np.stack([_row(item.embedding) for item in rows])
        except (binascii.Error, AttributeError, ValueError, TypeError) as error:
            raise RetryLater("the endpoint answered with unreadable embeddings") from error
        if vectors.ndim != 2:
            raise RetryLater("the endpoint answered with unreadable embeddings")
        if vectors.shape[1] != self.dimension:
            raise EndpointRefused(
                f"the embedding model answers with {vectors.shape[1]} dimensions, not {self.dimension}: "
                "set embedding.dimension to what it gives"
            )
        if not np.isfinite(vectors).all():
            raise RetryLater("the endpoint answered with embeddings that are no numbers")
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        return unit


def _row(embedding: object) -> NDArray[np.float32]:
    # Asked for base64, the SDK hands the text through; servers that do not know it answer with a list.
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(embedding, dtype=np.float32)
