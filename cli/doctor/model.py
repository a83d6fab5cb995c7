"""Checks of the model endpoints: let in, with a model that is there, a quota that lasts and vectors that fit."""

from collections.abc import Sequence
from typing import Final

from cli.doctor.findings import Finding, failed, ok
from cli.doctor.running import Check, Surroundings
from extraction.factory import create_embedder
from schemas.errors import EndpointRefused, MemostreamError, RetryLater
from schemas.settings import Settings

ADVICE: Final = "check llm.base_url, and whether this machine may go out to it (proxy, firewall)"
EMBEDDING_ADVICE: Final = "check embedding.base_url, or llm.base_url where that is unset"
PROBE_TEXT: Final = "ok"


async def check_llm(surroundings: Surroundings) -> Sequence[Finding]:
    settings = surroundings.settings
    llm = settings.llm
    if settings.extraction.provider == "offline":
        return [ok("none: extraction.provider is offline, facts come from rules")]
    # Here, for its imports take a while and the offline provider has no need of them.
    from extraction.endpoint.probing import near_models, probe_chat

    try:
        await probe_chat(llm)
    except EndpointRefused as error:
        # Looked at only now: not every server that completes has a list.
        return [judge_refusal(error, llm.model, await near_models(llm))]
    except MemostreamError as error:
        return [judge_absence(error, ADVICE)]
    return [ok(f"{llm.model} answers")]


async def check_embedding(surroundings: Surroundings) -> Sequence[Finding]:
    settings = surroundings.settings
    if not settings.embedding.enabled:
        return [ok("none: embedding.enabled is false")]
    embedder = create_embedder(without_retries(settings))
    if embedder is None:
        return [ok("none")]
    try:
        await embedder.embed([PROBE_TEXT])
    except EndpointRefused as error:
        return [failed(str(error), _EMBEDDING_FIX)]
    except MemostreamError as error:
        return [judge_absence(error, EMBEDDING_ADVICE)]
    finally:
        await embedder.close()
    source = "bundled" if settings.extraction.provider == "offline" else "answers"
    return [ok(f"{settings.embedding_model} {source}, {settings.embedding_dimension} dimensions")]


def judge_refusal(error: EndpointRefused, model: str, near: Sequence[str]) -> Finding:
    """The error names what was refused; near names of models help where it is the model."""
    if near and model not in near:
        return failed(f"{error}; it does not list {model}", f"set llm.model, perhaps to {' or '.join(near)}")
    return failed(str(error), "correct llm.api_key, llm.model or llm.base_url, or see the plan of the account")


def judge_absence(error: MemostreamError, advice: str) -> Finding:
    if isinstance(error, RetryLater):
        return failed(str(error), advice)
    return failed(str(error), "see what the endpoint expects of a call, and llm.* for what is sent")


def without_retries(settings: Settings) -> Settings:
    """The settings with calls that fail at once: whoever asks may ask again."""
    return settings.model_copy(update={"llm": settings.llm.model_copy(update={"max_retries": 0})})


_EMBEDDING_FIX: Final = "correct embedding.dimension, embedding.model, embedding.api_key or embedding.base_url"

CHECKS: Final = (
    Check("llm", check_llm, ADVICE),
    Check("embedding", check_embedding, EMBEDDING_ADVICE),
)
