"""What re-embedding refuses, each time with the reason and the fix."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cli.databases import check_schema
from cli.reembedding_rules import (
    check_abandon,
    check_finish,
    checked_begun,
    checked_target,
    plan_of,
)
from schemas.errors import ConfigurationError, Conflict, MemostreamError, NotFound
from schemas.memory import EmbeddingModel
from schemas.prices import ModelPrice, PriceSettings
from storage.inspection import SchemaState, StoredEmbeddings
from storage.reembedding_progress import Progress

SMALL = EmbeddingModel("small", 256)
LARGE = EmbeddingModel("large", 1024)
SHORT = EmbeddingModel("small", 128)
IDLE = StoredEmbeddings(256, "small")
BEGUN = StoredEmbeddings(256, "small", LARGE)
READY = StoredEmbeddings(256, "small", LARGE, is_ready=True)


@pytest.mark.parametrize("target", [LARGE, SHORT, EmbeddingModel("other", 256)])
def test_another_model_or_another_length_is_a_target(target: EmbeddingModel) -> None:
    assert checked_target(IDLE, target) == target


def test_a_run_under_way_is_gone_on_with() -> None:
    assert checked_target(BEGUN, LARGE) == checked_begun(BEGUN) == LARGE


def test_a_database_without_a_model_yet_may_go_on_to_any() -> None:
    assert checked_target(StoredEmbeddings(256, None), SMALL) == SMALL


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (
            lambda: checked_target(IDLE, SMALL),
            ConfigurationError,
            ("small with 256 dimensions already", "NEXT"),
        ),
        (lambda: checked_target(IDLE, None), ConfigurationError, ("embedding.enabled is false",)),
        (lambda: checked_target(BEGUN, SHORT), Conflict, ("large with 1024", "small with 128", "reembed abandon")),
        (lambda: checked_target(BEGUN, SMALL), ConfigurationError, ("already",)),
        (lambda: checked_begun(IDLE), NotFound, ("no re-embedding is under way", "reembed run")),
        (lambda: check_finish(BEGUN, 0, 0, []), Conflict, ("not embedded by large", "reembed run --execute")),
        (lambda: check_finish(READY, 7, 6, []), Conflict, ("7 texts are not embedded",)),
        (lambda: check_finish(READY, 0, 0, [("w1", SMALL), ("w2", LARGE)]), Conflict, ("w1;", "gateways first")),
        (lambda: check_finish(READY, 0, 0, [("w3", EmbeddingModel("large", 256))]), Conflict, ("w3",)),
        (lambda: check_abandon(READY, [("w1", SMALL), ("w2", LARGE)]), Conflict, ("already: w2;",)),
        (lambda: check_abandon(IDLE, []), NotFound, ("no re-embedding",)),
        (lambda: check_schema(SchemaState(None, True, 9, True)), ConfigurationError, ("no tables", "database_url")),
        (lambda: check_schema(SchemaState("77ab", False, 0, True)), ConfigurationError, ("77ab", "database_url")),
        (lambda: check_schema(SchemaState("0008", True, 1, True)), ConfigurationError, ("memostream migrate",)),
    ],
)
def test_what_does_not_fit_is_refused(
    call: Callable[[], Any], kind: type[MemostreamError], words: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_when_all_is_embedded_and_all_have_the_next_model_it_may_be_finished() -> None:
    assert check_finish(READY, 6, 6, [("w2", LARGE)]) == LARGE
    assert check_abandon(READY, [("w1", SMALL)]) == LARGE
    check_schema(SchemaState("0009", True, 0, True))


def test_a_plan_counts_calls_of_64_texts_and_costs_what_the_price_list_says() -> None:
    by_table = {"profiles": Progress(missing=100, tokens=1_500_000), "gists": Progress(missing=29, tokens=500_000)}
    prices = PriceSettings(models={"large": ModelPrice(embedding_per_million=Decimal("0.02"))})
    plan = plan_of(LARGE, False, by_table, prices)
    assert (plan.total.missing, plan.total.tokens, plan.calls, plan.cost) == (129, 2_000_000, 3, Decimal("0.04"))
    assert plan_of(SHORT, False, by_table, prices).cost is None
