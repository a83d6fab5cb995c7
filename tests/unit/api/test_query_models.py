"""Query parameters that are read without FastAPI mean and are described what they would be with it."""

from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient
from pydantic import BaseModel

from api.models.reading import ChosenProfileQuery, ContextQuery
from api.models.search import MemoryQuery, SimilarityQuery, TagQuery
from api.query_models import described, in_query, parsed

MODELS: list[type[BaseModel]] = [ChosenProfileQuery, ContextQuery, MemoryQuery, SimilarityQuery, TagQuery]

QUERIES = [
    "",
    "query=tea",
    "query=tea&topk=3",
    "topk=2&topk=5&query=a",
    "max_token_size=500&&prefer_topics=work&&prefer_topics=basic_info",
    "prefer_topics=&only_topics=a%20b&query=%E8%8C%B6",
    "full_profile_and_only_search_event=False&fill_window_with_events=true",
    "fill_window_with_events=perhaps&query=x",
    "max_token_size=many",
    "topk=-1&query=x",
    "query=%00",
    "query=%ff%fe",
    "as_of=2026-11-20T10:00:00Z",
    "as_of=yesterday",
    "event_similarity_threshold=nan",
    "unknown=1&query=x",
    'chats_str=[{"role": "user", "content": "a=b;c"}]',
]


def theirs(model: type[BaseModel]) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    def read(query: Annotated[model, Query()]) -> Any:  # type: ignore[valid-type]
        return query.model_dump(mode="json")  # type: ignore[attr-defined]

    return app


def ours(model: type[BaseModel]) -> FastAPI:
    app = FastAPI()

    @app.get("/", openapi_extra=described(model))
    def read(query: Annotated[model, in_query(model)]) -> Any:  # type: ignore[valid-type]
        return query.model_dump(mode="json")  # type: ignore[attr-defined]

    return app


@pytest.mark.parametrize("model", MODELS)
def test_a_query_is_understood_as_fastapi_understands_it(model: type[BaseModel]) -> None:
    one, other = TestClient(ours(model)), TestClient(theirs(model))
    for query in QUERIES:
        mine, expected = one.get(f"/?{query}"), other.get(f"/?{query}")
        assert mine.status_code == expected.status_code, query
        if mine.is_success:
            assert mine.json() == expected.json(), query
        else:
            told = [(item["loc"], item["type"], item["msg"]) for item in expected.json()["detail"]]
            assert [(item["loc"], item["type"], item["msg"]) for item in mine.json()["detail"]] == told


@pytest.mark.parametrize("model", MODELS)
def test_the_parameters_are_described_as_fastapi_describes_them(model: type[BaseModel]) -> None:
    assert described(model)["parameters"] == theirs(model).openapi()["paths"]["/"]["get"]["parameters"]


def test_an_error_holds_nothing_of_what_was_sent() -> None:
    with pytest.raises(RequestValidationError) as caught:
        parsed(b"max_token_size=secret", ContextQuery, frozenset())
    assert "secret" not in str(caught.value.errors())


def test_a_time_as_answers_have_it_is_understood_with_its_plus_sign_as_it_stands() -> None:
    found = parsed(b"as_of=2026-11-20T10:00:00+01:00", ContextQuery, frozenset())
    assert found.as_of == datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert parsed(b"as_of=2026-11-20 10:00", ContextQuery, frozenset()).as_of == datetime(2026, 11, 20, 10, tzinfo=UTC)
