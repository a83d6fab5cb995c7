"""A structured answer from a chat model: the best form of structured output that the server takes, one repair."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import openai
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from extraction.endpoint.client import call, token_count
from extraction.endpoint.failures import hints, translate
from extraction.replies import InvalidReply, ReplyModel, read_reply, strict_schema
from schemas.errors import ContentRejected, ContextTooLong, EndpointRefused, RetryLater
from schemas.memory import Usage
from schemas.settings import LLMSettings

ReplyFormat = Literal["json_schema", "json_object", "plain"]
_NEXT_FORMAT: Final[dict[ReplyFormat, ReplyFormat]] = {"json_schema": "json_object", "json_object": "plain"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What of the API a server takes; learnt from its refusals."""

    reply_format: ReplyFormat = "json_schema"
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True


@dataclass(slots=True)
class ChatEndpoint:
    """One model behind one base URL. `dialect` is the last that worked, so that a refusal costs a call only once."""

    client: openai.AsyncOpenAI
    settings: LLMSettings
    dialect: Dialect = field(default_factory=Dialect)

    async def ask(
        self,
        system: str,
        user: str,
        model: type[ReplyModel],
        count: int,
        repair: Callable[[str], str],
        check: Callable[[ReplyModel], None] = lambda _: None,
    ) -> tuple[ReplyModel, Usage]:
        """The validated answer; one that does not validate is sent back once with `repair(error)`.

        `check` raises InvalidReply for what only the caller can judge; so refused, an answer is sent back alike.
        Raises ContentRejected when the second does not either, or when the model refuses; ContextTooLong also when
        the answer is cut off at `llm.max_output_tokens`.
        """
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        text, usage = await self._complete(messages, model)
        try:
            return _read(text, model, count, check), usage
        except InvalidReply as error:
            messages += [{"role": "assistant", "content": text}, {"role": "user", "content": repair(str(error))}]
        text, more = await self._complete(messages, model)
        try:
            return _read(text, model, count, check), usage + more
        except InvalidReply as error:
            # The reply may quote the conversation, so only its kind is told.
            raise ContentRejected(f"the model's reply failed validation twice ({model.__name__})") from error

    async def _complete(self, messages: list[dict[str, str]], model: type[BaseModel]) -> tuple[str, Usage]:
        dialect = self.dialect
        while True:
            request = _request(messages, model, self.settings, dialect)
            try:
                completion: ChatCompletion = await call(
                    lambda request=request: self.client.chat.completions.create(**request),  # type: ignore[misc]
                    self.settings.max_retries,
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                translated = translate(error, datetime.now(UTC))
                other = simpler(dialect, hints(error))
                if not isinstance(translated, EndpointRefused) or other is None:
                    raise translated from error
                dialect = other
                continue
            # Only now: a refusal that was about this conversation must not cost all others their structured output.
            self.dialect = dialect
            return _text(completion), _usage(completion)


def simpler(dialect: Dialect, said: str) -> Dialect | None:
    """The dialect to try after a refused request, by what the server said; None where nothing is left to try."""
    if dialect.limit_name == "max_tokens" and "max_completion_tokens" in said:
        return replace(dialect, limit_name="max_completion_tokens")
    if dialect.temperature and "temperature" in said:
        return replace(dialect, temperature=False)
    if dialect.reply_format in _NEXT_FORMAT:
        return replace(dialect, reply_format=_NEXT_FORMAT[dialect.reply_format])
    return None


def _read(text: str, model: type[ReplyModel], count: int, check: Callable[[ReplyModel], None]) -> ReplyModel:
    reply = read_reply(text, model, count)
    check(reply)
    return reply


def _request(
    messages: list[dict[str, str]], model: type[BaseModel], settings: LLMSettings, dialect: Dialect
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": settings.model,
        "messages": messages,
        dialect.limit_name: settings.max_output_tokens,
    }
    if dialect.temperature:
        request["temperature"] = settings.temperature
    if dialect.reply_format == "json_schema":
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": model.__name__, "schema": strict_schema(model), "strict": True},
        }
    elif dialect.reply_format == "json_object":
        request["response_format"] = {"type": "json_object"}
    return request


def _text(completion: ChatCompletion) -> str:
    # Servers that only resemble the API leave out what the SDK's types promise.
    choices = getattr(completion, "choices", None)
    if not choices:
        raise RetryLater("the endpoint answered without choices")
    choice = choices[0]
    finish_reason, message = getattr(choice, "finish_reason", None), getattr(choice, "message", None)
    if finish_reason == "content_filter" or getattr(message, "refusal", None):
        raise ContentRejected("the model refused the conversation")
    if finish_reason == "length":
        raise ContextTooLong("the answer is longer than llm.max_output_tokens")
    content = getattr(message, "content", None) or ""
    if not isinstance(content, str):
        raise RetryLater("the endpoint answered with something that is no text")
    return content


def _usage(completion: ChatCompletion) -> Usage:
    counted = getattr(completion, "usage", None)
    return Usage(
        completions=1,
        prompt_tokens=token_count(counted, "prompt_tokens"),
        completion_tokens=token_count(counted, "completion_tokens"),
        cached_tokens=token_count(getattr(counted, "prompt_tokens_details", None), "cached_tokens"),
    )
