"""What calls to models cost, by a price table."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from schemas.memory import Usage
from schemas.prices import ModelPrice, PriceSettings

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """In the currency of the price table; None where tokens were used that have no price."""

    chat: Decimal | None = Decimal(0)
    embedding: Decimal | None = Decimal(0)

    @property
    def known(self) -> Decimal:
        """The sum of what is known."""
        return (self.chat or Decimal(0)) + (self.embedding or Decimal(0))


def cost_of(usage: Usage, model: str, embedding_model: str | None, prices: PriceSettings) -> Cost:
    """What calls cost by a price table; no tokens cost nothing, also those of a model without a price."""
    unknown = ModelPrice()
    chat = prices.models.get(model, unknown)
    cached_price = chat.prompt_per_million if chat.cached_per_million is None else chat.cached_per_million
    embedding = prices.models.get(embedding_model or "", unknown)
    return Cost(
        _sum(
            # Some servers count cached tokens that they do not count as prompt tokens.
            (max(0, usage.prompt_tokens - usage.cached_tokens), chat.prompt_per_million),
            (usage.cached_tokens, cached_price),
            (usage.completion_tokens, chat.completion_per_million),
        ),
        _sum((usage.embedding_tokens, embedding.embedding_per_million)),
    )


def _sum(*parts: tuple[int, Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for tokens, price in parts:
        if tokens and price is None:
            return None
        total += tokens * (price or Decimal(0)) / MILLION
    return total
