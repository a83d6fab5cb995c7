"""The SDK's errors, translated once into errors by what the runtime must do about them."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import openai

from schemas.errors import (
    ContentRejected,
    ContextTooLong,
    EndpointRefused,
    MemostreamError,
    RetryLater,
    UnexplainedRefusal,
)

# How servers other than OpenAI's say that the text is too long (vLLM, llama.cpp, Ollama, Volcengine).
_TOO_LONG: Final = (
    "context_length_exceeded",
    "maximum context length",
    "context length",
    "context size",
    "context window",
    "exceed_context_size",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "string_above_max_length",
)
_REFUSED_CONTENT: Final = (
    "content_filter",
    "content_policy_violation",
    "sensitivecontent",
    "data_inspection_failed",
    "responsibleaipolicyviolation",
)
# How servers name an image that they cannot fetch or read, or say that the model sees none (OpenAI, vLLM, llama.cpp).
_REFUSED_IMAGE: Final = (
    "invalid_image",
    "image_url",
    "image_parse_error",
    "unsupported image",
    "image input",
    "not a multimodal model",
)
_NO_QUOTA: Final = (
    "insufficient_quota",
    "billing_hard_limit",
    "accountoverdue",
    "insufficient balance",
    "quota exceeded",
)
# Servers that answer 400 where others answer 401 and 404.
_BAD_KEY: Final = ("invalid_api_key", "invalid api key", "api key not valid", "authenticationerror")
_NO_MODEL: Final = ("model_not_found", "model not found", "modelnotopen", "invalidendpointormodel")
_MAX_RETRY_AFTER_S: Final = 3600.0


def translate(error: openai.OpenAIError, now: datetime) -> MemostreamError:
    """The error to raise from `error`; its text names the kind of fault and holds nothing that was sent or answered."""
    if isinstance(error, openai.APITimeoutError):
        return RetryLater("the endpoint did not answer in time")
    if isinstance(error, openai.APIConnectionError):
        return RetryLater("the endpoint cannot be reached")
    if isinstance(error, openai.APIStatusError):
        return _translate_status(error, now)
    # What remains is an answer that is none: a body that is no JSON, or not of the API.
    return RetryLater(f"the endpoint answered with something unreadable ({type(error).__name__})")


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that a reply's headers ask to wait, 0 where they do not; both forms of Retry-After are read."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(max(milliseconds / 1000, 0.0), _MAX_RETRY_AFTER_S)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value:
        try:
            moment = parsedate_to_datetime(value)
        # Numbers of any length may stand there.
        except (ValueError, OverflowError):
            return 0.0
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return min(max(seconds or 0.0, 0.0), _MAX_RETRY_AFTER_S)


def hints(error: openai.APIStatusError) -> str:
    """What the server says about its fault, lower case, to search in; never to be shown, for it may quote."""
    return f"{error.code} {error.type} {error.param} {error.message}".lower()


def _translate_status(error: openai.APIStatusError, now: datetime) -> MemostreamError:
    status, said = error.status_code, hints(error)
    delay_s = retry_after_s(error.response.headers, now)
    is_bad_request = status in (400, 422)
    if status == 402 or any(word in said for word in _NO_QUOTA):
        return EndpointRefused("the endpoint's quota is used up: check plan and billing", delay_s)
    if status in (401, 403) or (is_bad_request and any(word in said for word in _BAD_KEY)):
        return EndpointRefused(f"the endpoint refused the key (status {status}): check llm.api_key", delay_s)
    if status == 404 or (is_bad_request and any(word in said for word in _NO_MODEL)):
        return EndpointRefused(
            f"the endpoint knows no such model or path (status {status}): check model and base_url", delay_s
        )
    if status == 413 or (is_bad_request and any(word in said for word in _TOO_LONG)):
        return ContextTooLong("the conversation is longer than the model's context")
    if is_bad_request and any(word in said for word in _REFUSED_CONTENT):
        return ContentRejected("the endpoint's content filter refused the conversation")
    if is_bad_request and any(word in said for word in _REFUSED_IMAGE):
        return ContentRejected(
            f"the endpoint refused an image (status {status}): it must be able to fetch it, and the model to see"
        )
    if status in (408, 409, 425, 429) or status >= 500:
        return RetryLater(f"the endpoint is busy or down (status {status})", delay_s)
    if is_bad_request:
        return UnexplainedRefusal(f"the endpoint does not take the call and does not say why (status {status})")
    # Something about how we call it; every conversation would fail alike, so none is at fault.
    return EndpointRefused(f"the endpoint does not take our calls (status {status})", delay_s)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
