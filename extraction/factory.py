"""Builds the extractor and the embedder that the settings name."""

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from extraction.pipeline import Pipeline
from extraction.protocol import Embedder, Extractor
from extraction.reading import ReadingModel
from schemas.errors import ConfigurationError
from schemas.memory import ExtractorIdentity
from schemas.metrics import NO_METRICS, Metrics
from schemas.profile_schema import ProfilePolicy
from schemas.settings import Settings
from schemas.tracing import NO_TRACER, Tracer

if TYPE_CHECKING:
    from httpx2 import AsyncClient

# Of the steps and the merge; raise it when the same prompts and model would give other memory.
EXTRACTION_VERSION: Final = "2"
# Policies whose hash is remembered.
MAX_IDENTITIES: Final = 256


def create_extractor(
    settings: Settings,
    embedder: Embedder | None = None,
    http: "AsyncClient | None" = None,
    metrics: Metrics = NO_METRICS,
    tracer: Tracer = NO_TRACER,
) -> Extractor:
    """The extractor of `extraction.provider`; opens no connection. Raises ConfigurationError.

    It closes its embedder: the one that it is given, else one of its own. `http` stands in for the client that
    requests are sent by, so that a model may be part of the process.
    """
    embedder = embedder or create_embedder(settings, http, metrics, tracer)
    # A provider's imports take up to a second, so only those of the chosen one are made.
    if settings.extraction.provider == "offline":
        from extraction.offline.provider import OfflineSteps, offline_identity

        return Pipeline(offline_identity(EXTRACTION_VERSION), OfflineSteps(), embedder)

    from extraction.endpoint.chat import ChatEndpoint
    from extraction.endpoint.client import open_client
    from extraction.endpoint.limits import Gate, Limits
    from extraction.endpoint.provider import EndpointSteps
    from extraction.prompting import prompt_hash

    llm = settings.llm
    client = open_client(llm.base_url, llm.api_key, llm.timeout_s, llm.default_headers, llm.default_query, http)

    @lru_cache(maxsize=MAX_IDENTITIES)
    def identity(policy: ProfilePolicy) -> ExtractorIdentity:
        return ExtractorIdentity("openai", EXTRACTION_VERSION, llm.model, prompt_hash(policy))

    gate = Gate(Limits(llm.concurrency, llm.requests_per_minute, llm.tokens_per_minute))
    chat = ChatEndpoint(client, llm, llm.model, gate, metrics, tracer)
    # Another model may take another form of answers; the limits are those of the endpoint.
    tidier = chat if llm.summary_model is None else ChatEndpoint(client, llm, llm.summary_model, gate, metrics, tracer)
    return Pipeline(identity, EndpointSteps(chat, tidier), embedder)


def create_reader(settings: Settings, metrics: Metrics = NO_METRICS) -> ReadingModel | None:
    """The model that helps to read memory, at the endpoint of extraction; None with provider `offline`."""
    if settings.extraction.provider == "offline":
        return None

    from extraction.endpoint.chat import ChatEndpoint
    from extraction.endpoint.client import open_client
    from extraction.endpoint.limits import Gate, Limits
    from extraction.endpoint.reading import ChatReader

    llm = settings.llm
    client = open_client(llm.base_url, llm.api_key, llm.timeout_s, llm.default_headers, llm.default_query)
    gate = Gate(Limits(llm.concurrency, llm.requests_per_minute, llm.tokens_per_minute))
    return ChatReader(
        ChatEndpoint(client, llm, llm.summary_model or llm.model, gate, metrics),
        ChatEndpoint(client, llm, llm.thinking_model or llm.model, gate, metrics),
    )


def create_embedder(
    settings: Settings,
    http: "AsyncClient | None" = None,
    metrics: Metrics = NO_METRICS,
    tracer: Tracer = NO_TRACER,
) -> Embedder | None:
    """The embedder of the same provider; None where `embedding.enabled` is false. Raises ConfigurationError.

    `http` as in `create_extractor`.
    """
    embedding, llm = settings.embedding, settings.llm
    if not embedding.enabled:
        return None
    if settings.extraction.provider == "offline":
        from extraction.offline.embedding import BundledEmbedder

        if embedding.base_url is not None or embedding.model is not None:
            raise ConfigurationError(
                "embedding.base_url and embedding.model must be unset with extraction.provider: offline, "
                "which brings its own model"
            )
        return BundledEmbedder(settings.embedding_dimension)

    from extraction.endpoint.client import open_client
    from extraction.endpoint.embedding import EndpointEmbedder
    from extraction.endpoint.limits import Gate, Limits

    elsewhere = embedding.base_url is not None and embedding.base_url != llm.base_url
    client = open_client(
        embedding.base_url or llm.base_url,
        # The key of one server is not shown to another.
        embedding.api_key or (None if elsewhere else llm.api_key),
        embedding.timeout_s,
        _shared(embedding.default_headers, llm.default_headers, elsewhere),
        _shared(embedding.default_query, llm.default_query, elsewhere),
        http,
    )
    gate = Gate(Limits(embedding.concurrency, embedding.requests_per_minute, embedding.tokens_per_minute))
    return EndpointEmbedder(
        client,
        settings.embedding_model,
        settings.embedding_dimension,
        llm.max_retries,
        gate,
        embedding.api,
        metrics=metrics,
        tracer=tracer,
    )


def _shared(own: dict[str, str] | None, of_chat: dict[str, str], elsewhere: bool) -> dict[str, str]:
    return own if own is not None else {} if elsewhere else of_chat
