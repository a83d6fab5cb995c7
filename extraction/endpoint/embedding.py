"""Embeddings from an endpoint that speaks OpenAI's API, or Jina's."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy as np
import openai
from numpy.typing import NDArray

from extraction.endpoint.client import Answered, Body, call, member, token_count
from extraction.endpoint.counting import EMBED, counted_call
from extraction.endpoint.failures import translate
from extraction.endpoint.limits import Gate
from schemas.errors import (
    ContentRejected,
    ContextTooLong,
    EndpointRefused,
    MemostreamError,
    RetryLater,
    UnexplainedRefusal,
)
from schemas.memory import Usage
from schemas.metrics import NO_METRICS, Metrics
from schemas.tokens import estimate_tokens
from schemas.tracing import NO_TRACER, Tracer

# Models that can shorten their vectors; others refuse the parameter.
_SHORTENED: Final = "text-embedding-3"
# What is too long though it has less than this is so for another reason.
SMALLEST_TEXT_CHARACTERS: Final = 64


@dataclass(slots=True)
class EndpointEmbedder:
    """An Embedder; vectors come as base64 where the server can, since lists of numbers take longer to parse."""

    client: openai.AsyncOpenAI
    model: str
    dimension: int
    max_retries: int
    gate: Gate
    api: Literal["openai", "jina"] = "openai"
    takes_base64: bool = True
    metrics: Metrics = NO_METRICS
    tracer: Tracer = NO_TRACER

    async def embed(self, texts: Sequence[str], *, are_questions: bool = False) -> tuple[NDArray[np.float32], Usage]:
        """As Embedder's; of a text that is too long for the model, the vector is that of its beginning."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32), Usage()
        try:
            return await self._embed_in_parts(texts, are_questions)
        except (ContentRejected, ContextTooLong) as error:
            error.at_embedding = True
            raise

    async def _embed_in_parts(self, texts: Sequence[str], are_questions: bool) -> tuple[NDArray[np.float32], Usage]:
        try:
            return await self._embed(texts, are_questions)
        except ContextTooLong:
            # The limit may be one on all texts of a call.
            if len(texts) > 1:
                middle = len(texts) // 2
                first, spent = await self._embed_in_parts(texts[:middle], are_questions)
                try:
                    second, more = await self._embed_in_parts(texts[middle:], are_questions)
                except MemostreamError as error:
                    error.add_usage(spent)
                    raise
                return np.concatenate([first, second]), spent + more
            if len(texts[0]) < SMALLEST_TEXT_CHARACTERS:
                raise
            return await self._embed_in_parts([texts[0][: len(texts[0]) // 2]], are_questions)

    async def _embed(self, texts: Sequence[str], are_questions: bool) -> tuple[NDArray[np.float32], Usage]:
        try:
            answered = await self._send(texts, self.takes_base64, are_questions)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            translated = translate(error, datetime.now(UTC))
            if not isinstance(translated, UnexplainedRefusal) or not self.takes_base64 or self.api == "jina":
                raise translated from error
            answered = await self._send_plainly(texts)
        counted = member(answered.result, "usage")
        usage = Usage(
            embedding_calls=1,
            embedding_tokens=token_count(counted, "prompt_tokens") or token_count(counted, "total_tokens"),
            latency_ms=answered.latency_ms,
        ).of_model(self.model)
        try:
            return self._vectors(answered.result, len(texts)), usage
        except MemostreamError as error:
            error.add_usage(usage)
            raise

    async def _send(self, texts: Sequence[str], as_base64: bool, are_questions: bool = False) -> Answered[Any]:
        request: dict[str, Any] = {"model": self.model, "input": list(texts)}
        if self.api == "jina":
            # What is kept to be found later is a passage to Jina.
            request |= {
                "task": "retrieval.query" if are_questions else "retrieval.passage",
                "embedding_type": "float",
                "dimensions": self.dimension,
                "truncate": True,
            }
        else:
            if as_base64:
                request["encoding_format"] = "base64"
            if self.model.startswith(_SHORTENED):
                request["dimensions"] = self.dimension
        # Not by the SDK's method for embeddings, which sends a format of its own where we send none.
        with counted_call(self.metrics, self.tracer, self.model, EMBED):
            return await call(
                lambda: self.client.post("/embeddings", cast_to=Body, body=request),
                self.max_retries,
                self.gate,
                sum(estimate_tokens(text) for text in texts),
            )

    async def _send_plainly(self, texts: Sequence[str]) -> Answered[Any]:
        """Without a format, for servers that know none; remembered if that was it."""
        try:
            answered = await self._send(texts, as_base64=False)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise translate(error, datetime.now(UTC)) from error
        self.takes_base64 = False
        return answered

    async def close(self) -> None:
        await self.client.close()

    def _vectors(self, response: object, count: int) -> NDArray[np.float32]:
        rows = member(response, "data")
        if not isinstance(rows, list) or len(rows) != count:
            raise RetryLater("the endpoint answered with another number of embeddings than asked for")
        try:
            in_order = sorted(rows, key=lambda item: item["index"])
            vectors = np.stack([_row(item["embedding"]) for item in in_order])
        except (binascii.Error, KeyError, ValueError, TypeError, OverflowError) as error:
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
    # Servers that do not know base64 answer with a list.
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(embedding, dtype=np.float32)
