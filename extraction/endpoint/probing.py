"""Asks a chat endpoint whether key, model and quota are in order, at the price of a handful of tokens."""

import difflib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import openai

from extraction.endpoint.chat import Dialect, simpler
from extraction.endpoint.client import call, open_client
from extraction.endpoint.failures import hints, translate
from extraction.endpoint.limits import Gate
from schemas.errors import EndpointRefused, UnexplainedRefusal
from schemas.settings import LLMSettings

# In the shape of our calls: some servers refuse a system message.
_MESSAGES: Final = ({"role": "system", "content": "Say OK."}, {"role": "user", "content": "Well?"})
_LISTED_NEAR: Final = 3
# A reasoning model that could not think it over within one token has let us in all the same.
_CUT_SHORT: Final = ("output limit was reached", "could not finish")


async def probe_chat(settings: LLMSettings) -> None:
    """One completion of at most one token; raises as any call does, translated."""
    client = open_client(
        settings.base_url, settings.api_key, settings.timeout_s, settings.default_headers, settings.default_query
    )
    dialect = Dialect(reply_format="plain")
    async with client:
        while True:
            request = {
                "model": settings.model,
                "messages": list(_MESSAGES),
                dialect.limit_name: 1,
            }
            try:
                await call(
                    lambda request=request: client.chat.completions.create(  # type: ignore[misc]
                        **request, extra_body=settings.extra_body or None
                    ),
                    0,
                    Gate(),
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                said = hints(error)
                if any(words in said for words in _CUT_SHORT):
                    return
                translated = translate(error, datetime.now(UTC))
                other = simpler(dialect, said)
                if not isinstance(translated, UnexplainedRefusal):
                    raise translated from error
                if other is None:
                    # Nothing that a conversation could be blamed for was sent.
                    raise EndpointRefused(str(translated)) from error
                dialect = replace(other, reply_format="plain")
            else:
                return


async def near_models(settings: LLMSettings) -> list[str]:
    """Names that the endpoint lists and that resemble the configured one; none where it lists none. Costs nothing."""
    client = open_client(
        settings.base_url, settings.api_key, settings.timeout_s, settings.default_headers, settings.default_query
    )
    async with client:
        try:
            names = [model.id async for model in client.models.list()]
        except (openai.OpenAIError, ValueError):
            return []
    return difflib.get_close_matches(settings.model, names, n=_LISTED_NEAR, cutoff=0.3)
