"""What may be written by hand, and what a slot holds afterwards."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from api.errors import ApiError
from api.hand_edits import joining, slot_of, stated
from api.models.fields import JsonObject
from schemas.profile_schema import ProfilePolicy

POLICY = ProfilePolicy()


def test_a_slot_is_named_as_extraction_names_it() -> None:
    assert slot_of({"topic": " Work ", "sub_topic": "Job Title", "update_hits": 3}) == ("work", "job_title")


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        {},
        {"topic": "work"},
        {"topic": "work", "sub_topic": ""},
        {"topic": "work", "sub_topic": None},
        {"topic": 3, "sub_topic": "x"},
        {"topic": ["work"], "sub_topic": "x"},
        {"topic": "work", "sub_topic": "x" * 10_000},
        {"topic": "work", "sub_topic": "a\x00b"},
    ],
)
def test_attributes_that_name_no_slot_are_errno_520_and_quote_nothing(attributes: dict[str, Any] | None) -> None:
    with pytest.raises(ApiError, match=r"^attributes\.(topic|sub_topic): ") as caught:
        slot_of(attributes)
    assert caught.value.errno == 520
    assert "xxx" not in caught.value.errmsg


def test_an_entry_must_say_something() -> None:
    assert stated(" Acme ") == " Acme "
    with pytest.raises(ApiError) as caught:
        stated(" \n")
    assert caught.value.errno == 400


def test_a_slot_holds_each_statement_once() -> None:
    join = joining(POLICY, ("interest", "foods"))
    assert join("figs", "dates") == "figs; dates"
    assert join("figs; dates", "dates") == "figs; dates"
    assert join("figs; dates", "dates; nuts") == "figs; dates; nuts"


def test_statements_that_differ_in_a_sign_only_are_two() -> None:
    assert joining(POLICY, ("work", "work_skills"))("C", "C++") == "C; C++"


def test_a_slot_of_one_value_holds_the_new_one() -> None:
    assert POLICY.single_valued("basic_info", "name")
    assert joining(POLICY, ("basic_info", "name"))("Ann", "Anne") == "Anne"


@pytest.mark.parametrize("value", [{"a": "\x00"}, {"\x00": 1}, {"a": [{"b": ["c\x00"]}]}, 3, [], "a"])
def test_data_is_an_object_without_nul(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(JsonObject).validate_python(value)


def test_data_is_not_nested_beyond_measure() -> None:
    value: dict[str, Any] = {}
    for _ in range(100):
        value = {"a": value}
    with pytest.raises(ValidationError):
        TypeAdapter(JsonObject).validate_python(value)
    assert TypeAdapter(JsonObject).validate_python({"a": [{"b": [1, None, "c"]}]}) == {"a": [{"b": [1, None, "c"]}]}
