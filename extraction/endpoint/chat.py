"""A structured answer from a chat model: the best form of structured output that the server takes, one repair."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import openai

from extraction import prompting
from extraction.endpoint.client import Answered, Body, call, member, token_count
from extraction.endpoint.counting import counted_call
from extraction.endpoint.failures import hints, translate
from extraction.endpoint.limits import Gate
from extraction.prompting import Language
from extraction.replies import InvalidReply, Reply, ReplyModel, read_reply, strict_schema
from schemas.errors import ContentRejected, ContextTooLong, MemostreamError, RetryLater, UnexplainedRefusal
from schemas.images import IMAGE_TOKENS
from schemas.memory import Usage
from schemas.metrics import NO_METRICS, Metrics
from schemas.settings import LLMSettings
from schemas.tokens import estimate_tokens
from schemas.tracing import NO_TRACER, Tracer

ReplyFormat = Literal["json_schema", "json_object", "plain"]
Refused = openai.BadRequestError | openai.UnprocessableEntityError

_NEXT_FORMAT: Final[dict[ReplyFormat, ReplyFormat]] = {"json_schema": "json_object", "json_object": "plain"}
# A refusal that names one of these is about how we ask, and so about everybody's calls.
_OUR_PARAMETERS: Final = ("response_format", "json_schema", "json_object", "structured", "grammar", "temperature")
# Where servers put what the model thinks; some put the whole answer there.
_REASONING_FIELDS: Final = ("reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What of the API a server takes; learnt from its refusals."""

    reply_format: ReplyFormat = "json_schema"
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True


@dataclass(slots=True)
class ChatEndpoint:
    """One model behind one base URL. `dialect` is the last that worked, so that it is found out once, for all users.

    Once a call was answered, a form that one conversation alone needed is not taken over for the others.
    """

    client: openai.AsyncOpenAI
    settings: LLMSettings
    model: str
    gate: Gate
    metrics: Metrics = NO_METRICS
    tracer: Tracer = NO_TRACER
    dialect: Dialect = field(default_factory=Dialect)
    _is_known: bool = field(default=False, init=False)
    _learning: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def ask(
        self,
        system: str,
        user: str | list[dict[str, Any]],
        model: type[ReplyModel],
        count: int,
        language: Language,
        check: Callable[[ReplyModel], None] = lambda _: None,
    ) -> tuple[ReplyModel, Usage]:
        """The validated answer; one that does not validate is sent back once with the error, in `language`.

        `system` is without the schema, which is added where the server is not given it beside the prompt; `user` is
        text, or parts of text and images. `check` raises InvalidReply for what only the caller can judge; so refused,
        an answer is sent back alike. Raises ContentRejected when the second does not validate either, or when the
        model refuses; ContextTooLong also when the answer is cut off at `llm.max_output_tokens`. An error's `usage` is
        what had been spent by then.
        """
        prompt = _Prompt(system, ({"role": "user", "content": user},), model, language)
        text, usage = await self._complete(prompt)
        try:
            return _read(text, model, count, check), usage
        except InvalidReply as error:
            self.metrics.add("memostream_llm_invalid_replies_total", model=self.model, step=model.step)
            repair = prompting.repair(language, str(error))
        answered = ({"role": "assistant", "content": text}, {"role": "user", "content": repair})
        try:
            text, more = await self._complete(replace(prompt, conversation=prompt.conversation + answered))
        except MemostreamError as error:
            error.add_usage(usage)
            raise
        try:
            return _read(text, model, count, check), usage + more
        except InvalidReply as error:
            self.metrics.add("memostream_llm_invalid_replies_total", model=self.model, step=model.step)
            # The reply may quote the conversation, so only its kind is told.
            rejected = ContentRejected(f"the model's reply failed validation twice ({model.__name__})")
            rejected.add_usage(usage + more)
            raise rejected from error

    async def _complete(self, prompt: "_Prompt") -> tuple[str, Usage]:
        dialect = self.dialect
        try:
            answered = await self._send(prompt, dialect)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            # One at a time: who was refused meanwhile takes what the first one has found out.
            async with self._learning:
                answered = await self._send_otherwise(prompt, dialect, error)
        else:
            self._is_known = True
        completion, usage = answered.result, _usage(answered).of_model(self.model)
        try:
            return _text(completion), usage
        except MemostreamError as error:
            error.add_usage(usage)
            raise

    async def _send_otherwise(self, prompt: "_Prompt", dialect: Dialect, error: Refused) -> Answered[Any]:
        """The answer in the best other form that the server takes, remembered where others need that form, too."""
        tried = {dialect}
        is_ours = True
        while True:
            translated = translate(error, datetime.now(UTC))
            if not isinstance(translated, UnexplainedRefusal):
                raise translated from error
            said = hints(error)
            other = self.dialect if self.dialect not in tried else simpler(dialect, said)
            if other is None:
                raise translated from error
            is_ours = is_ours and (other == self.dialect or any(name in said for name in _OUR_PARAMETERS))
            dialect = other
            tried.add(dialect)
            try:
                answered = await self._send(prompt, dialect)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as refused:
                error = refused
                continue
            # Only now: a refusal that was about this conversation must not cost all others their structured output.
            if is_ours or not self._is_known:
                self.dialect = dialect
            self._is_known = True
            return answered

    async def _send(self, prompt: "_Prompt", dialect: Dialect) -> Answered[Any]:
        messages = prompt.messages(dialect)
        request: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            dialect.limit_name: self.settings.max_output_tokens,
        }
        if dialect.temperature:
            request["temperature"] = self.settings.temperature
        if dialect.reply_format == "json_schema":
            schema = strict_schema(prompt.model)
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": prompt.model.__name__, "schema": schema, "strict": True},
            }
        elif dialect.reply_format == "json_object":
            request["response_format"] = {"type": "json_object"}
        # Not by the SDK's method for chats, which takes longer to look through schema and prompt than to send them.
        with counted_call(self.metrics, self.tracer, self.model, prompt.model.step):
            return await call(
                lambda: self.client.post("/chat/completions", cast_to=Body, body=request | self.settings.extra_body),
                self.settings.max_retries,
                self.gate,
                sum(_tokens(message["content"]) for message in messages),
            )


@dataclass(frozen=True, slots=True)
class _Prompt:
    system: str
    conversation: tuple[dict[str, Any], ...]
    model: type[Reply]
    language: Language

    def messages(self, dialect: Dialect) -> list[dict[str, Any]]:
        system = self.system
        # Who is given the schema beside the prompt need not be paid for reading it twice.
        if dialect.reply_format != "json_schema":
            system = f"{system}\n\n{prompting.schema_part(self.language, self.model)}"
        return [{"role": "system", "content": system}, *self.conversation]


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


def _tokens(content: str | list[dict[str, Any]]) -> int:
    if isinstance(content, str):
        return estimate_tokens(content)
    return sum(estimate_tokens(part["text"]) if "text" in part else IMAGE_TOKENS for part in content)


def _text(completion: object) -> str:
    choices = member(completion, "choices")
    if not isinstance(choices, list) or not choices:
        raise RetryLater("the endpoint answered without choices")
    message = member(choices[0], "message")
    finish_reason = member(choices[0], "finish_reason")
    if finish_reason == "content_filter" or member(message, "refusal"):
        raise ContentRejected("the model refused the conversation")
    if finish_reason == "length":
        raise ContextTooLong("the answer is longer than llm.max_output_tokens")
    content = member(message, "content")
    if not content:
        # Servers with a parser for reasoning take an answer without any for reasoning.
        content = next((text for name in _REASONING_FIELDS if (text := member(message, name))), "")
    if not isinstance(content, str):
        raise RetryLater("the endpoint answered with something that is no text")
    # A lone surrogate, which JSON can spell, could not be sent back to be repaired.
    return content.encode("utf-8", "replace").decode()


def _usage(answered: Answered[Any]) -> Usage:
    counted = member(answered.result, "usage")
    return Usage(
        completions=1,
        prompt_tokens=token_count(counted, "prompt_tokens"),
        completion_tokens=token_count(counted, "completion_tokens"),
        cached_tokens=token_count(member(counted, "prompt_tokens_details"), "cached_tokens"),
        latency_ms=answered.latency_ms,
    )
