"""Settings of the endpoints of models: of the one that chats, and of the one that embeds."""

from typing import Any, Final, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr

from schemas.addresses import Endpoint
from schemas.section import Section

_CONCURRENCY: Final = "Calls that one worker has open at this endpoint at a time; no limit if null."
_REQUESTS_PER_MINUTE: Final = "Calls that one worker begins in a minute; more wait, and their records in Kafka."
_TOKENS_PER_MINUTE: Final = "Tokens that one worker sends and is answered in a minute; likewise."


class LLMSettings(Section):
    """An OpenAI-compatible chat endpoint: OpenAI, Volcengine, vLLM, Ollama, llama.cpp, ..."""

    base_url: Endpoint | None = Field(None, description="OpenAI's own if null.")
    api_key: SecretStr | None = Field(None, description="Set the variable instead, so that it stands in no file.")
    model: str = Field("gpt-4o-mini", description="Name of the model, as the endpoint knows it.")
    temperature: NonNegativeFloat = Field(0.2, description="How freely the model words its answers.")
    max_output_tokens: PositiveInt = Field(4096, description="Tokens that one answer may hold.")
    timeout_s: PositiveFloat = Field(120.0, description="How long one call may take.")
    max_retries: int = Field(
        2,
        ge=0,
        description="Further tries within one call, for connection errors, 429 and 5xx that ask for a short wait.",
    )
    default_headers: dict[str, str] = Field({}, description="Headers sent with each request.")
    default_query: dict[str, str] = Field({}, description="Query parameters sent with each request.")
    extra_body: dict[str, Any] = Field(
        {},
        description="Fields added to the body of each chat request, for what only this server knows, such as switching "
        "its reasoning off.",
        examples=[{"thinking": {"type": "disabled"}}],
    )
    summary_model: str | None = Field(
        None, description="Name of a model for organize and compact, at the same endpoint; `model` if null."
    )
    thinking_model: str | None = Field(
        None, description="Name of a model that invents topics for role-play, at the same endpoint; `model` if null."
    )
    vision: bool = Field(
        False, description="Whether the model sees: images are shown to it then, and parked in dead-letters else."
    )
    concurrency: PositiveInt | None = Field(None, description=_CONCURRENCY)
    requests_per_minute: PositiveInt | None = Field(None, description=_REQUESTS_PER_MINUTE)
    tokens_per_minute: PositiveInt | None = Field(None, description=_TOKENS_PER_MINUTE)


class EmbeddingSettings(Section):
    """Embeddings of gists and events; what is null is as in `llm`."""

    enabled: bool = Field(True, description="Whether gists and events are given vectors, for search by meaning.")
    api: Literal["openai", "jina"] = Field(
        "openai",
        description="How the endpoint is spoken to: openai suits Ollama, LM Studio, vLLM and Volcengine, too; jina is "
        "Jina's own, which is told what the vectors are for.",
    )
    base_url: Endpoint | None = Field(None, description="An endpoint that speaks OpenAI's API; that of `llm` if null.")
    api_key: SecretStr | None = Field(
        None, description="Key of that endpoint; that of `llm` if null and the endpoint is the same."
    )
    model: str | None = Field(
        None,
        description="Name of the model. If null, text-embedding-3-small with provider openai, a bundled one with "
        "offline.",
    )
    dimension: PositiveInt | None = Field(
        None,
        description="Length of a vector. If null, 1536 with provider openai, 256 with offline. Part of the database's "
        "schema: `memostream reembed` changes it.",
    )
    timeout_s: PositiveFloat = Field(60.0, description="How long one call may take.")
    default_headers: dict[str, str] | None = Field(
        None, description="Headers sent with each request; those of `llm` if null and the endpoint is the same."
    )
    default_query: dict[str, str] | None = Field(None, description="Query parameters sent with each request; likewise.")
    concurrency: PositiveInt | None = Field(None, description=_CONCURRENCY)
    requests_per_minute: PositiveInt | None = Field(None, description=_REQUESTS_PER_MINUTE)
    tokens_per_minute: PositiveInt | None = Field(None, description=_TOKENS_PER_MINUTE)
