"""What calls to a model cost, by a price table."""

from decimal import Decimal
from typing import Final

from schemas.memory import Usage
from schemas.prices import ModelPrice, PriceSettings

MILLION: Final = 1_000_000


def cost_of(usage: Usage, model: str, prices: PriceSettings) -> Decimal | None:
    """What one model's calls cost; None where tokens were used that have no price. No tokens cost nothing."""
    price = prices.models.get(model, ModelPrice())
    cached_price = price.prompt_per_million if price.cached_per_million is None else price.cached_per_million
    total = Decimal(0)
    for tokens, per_million in (
        # Some servers name more cached tokens than prompt tokens.
        (max(0, usage.prompt_tokens - usage.cached_tokens), price.prompt_per_million),
        (usage.cached_tokens, cached_price),
        (usage.completion_tokens, price.completion_per_million),
        (usage.embedding_tokens, price.embedding_per_million),
    ):
        if tokens and per_million is None:
            return None
        total += tokens * (per_million or Decimal(0)) / MILLION
    return total
