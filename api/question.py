"""The vector of what a caller searches for."""

import asyncio

from api.errors import ApiError
from api.gateway import Gateway
from schemas.errors import ContentRejected, ContextTooLong, RetryLater
from schemas.memory import Embedding

NO_EMBEDDINGS = "embeddings are switched off (embedding.enabled), so nothing can be searched for by meaning"

OTHER_MODEL = (
    "the database holds no embeddings of this gateway's model: an operator has gone on to another, by "
    "`memostream reembed`"
)


async def embed_question(gateway: Gateway, text: str, *, parameter: str = "query") -> Embedding | None:
    """A vector of unit length; None for a text of which the model knows no word, so that nothing is similar to it.

    Raises RetryLater when the endpoint is away or too slow, and ApiError where embeddings are off, the database's are
    of another model, or the model refuses this text, which came in `parameter`.
    """
    if gateway.embedder is None:
        raise ApiError(501, NO_EMBEDDINGS)
    if not await gateway.holds_vectors():
        raise ApiError(503, OTHER_MODEL)
    try:
        async with asyncio.timeout(gateway.settings.api.embedding_timeout_s):
            vectors, _ = await gateway.embedder.embed([text], are_questions=True)
    except TimeoutError:
        raise RetryLater("the endpoint of embeddings is too slow") from None
    except (ContentRejected, ContextTooLong):
        raise ApiError(400, f"{parameter}: the embedding model refuses this text") from None
    vector: Embedding = vectors[0]
    return vector if vector.any() else None
