"""The price table of the configuration."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from schemas.section import Section

# Within what sums of years can hold.
Price = Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=20)]


class ModelPrice(Section):
    """What a million tokens of one model cost."""

    prompt_per_million: Price | None = Field(None, description="Price of a million prompt tokens.")
    cached_per_million: Price | None = Field(
        None, description="Of a million prompt tokens that the endpoint took from its cache; as the others if null."
    )
    completion_per_million: Price | None = Field(None, description="Of a million tokens of answers.")
    embedding_per_million: Price | None = Field(None, description="Of a million tokens that were embedded.")


class PriceSettings(Section):
    """What models cost, as your provider's price list says; nothing is known without it."""

    currency: str = Field("USD", description="That all prices and money budgets are in; a name, nothing is converted.")
    models: dict[str, ModelPrice] = Field(
        {},
        description="A price list by the names in llm.model and embedding.model. Tokens of a model without a price "
        "are counted all the same; a price of 0 says that it costs nothing.",
        examples=[
            {
                "gpt-4o-mini": {"prompt_per_million": 0.15, "cached_per_million": 0.075, "completion_per_million": 0.6},
                "text-embedding-3-small": {"embedding_per_million": 0.02},
            }
        ],
    )
