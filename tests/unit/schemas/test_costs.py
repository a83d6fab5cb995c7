"""What calls cost, by a price table."""

from decimal import Decimal

import pytest

from schemas.costs import cost_of
from schemas.memory import Usage
from schemas.prices import PriceSettings

PRICES = PriceSettings.model_validate(
    {
        "models": {
            "small": {"prompt_per_million": 0.15, "cached_per_million": 0.075, "completion_per_million": 0.6},
            "plain": {"prompt_per_million": 2, "completion_per_million": 8},
            "vectors": {"embedding_per_million": 0.02},
            "local": {"prompt_per_million": 0, "completion_per_million": 0},
        }
    }
)


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        ("small", Usage(prompt_tokens=1_000_000), "0.15"),
        ("small", Usage(prompt_tokens=1_000_000, cached_tokens=400_000), "0.12"),
        ("small", Usage(prompt_tokens=1000, completion_tokens=500), "0.00045"),
        ("plain", Usage(prompt_tokens=1_000_000, cached_tokens=400_000), "2"),
        ("vectors", Usage(embedding_calls=1, embedding_tokens=50), "0.000001"),
        ("local", Usage(completions=3, prompt_tokens=5000, completion_tokens=300), "0"),
    ],
)
def test_each_kind_of_token_has_its_price_and_none_is_paid_twice(model: str, usage: Usage, cost: str) -> None:
    assert cost_of(usage, model, PRICES) == Decimal(cost)


def test_more_cached_tokens_than_prompt_tokens_never_give_money_back() -> None:
    assert cost_of(Usage(prompt_tokens=10, cached_tokens=1_000_000), "small", PRICES) == Decimal("0.075")


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("unheard-of", Usage(prompt_tokens=1)),
        ("vectors", Usage(prompt_tokens=1, embedding_tokens=1)),
        ("small", Usage(embedding_tokens=1)),
    ],
)
def test_tokens_without_a_price_make_the_cost_unknown_instead_of_nothing(model: str, usage: Usage) -> None:
    assert cost_of(usage, model, PRICES) is None


def test_no_tokens_cost_nothing_also_of_a_model_without_a_price() -> None:
    assert cost_of(Usage(completions=1), "unheard-of", PRICES) == 0


@pytest.mark.parametrize("price", ["NaN", "Infinity", -1, "1e100000", "1e-100000"])
def test_a_price_that_no_column_could_hold_is_refused(price: object) -> None:
    with pytest.raises(ValueError, match="prompt_per_million"):
        PriceSettings.model_validate({"models": {"m": {"prompt_per_million": price}}})
