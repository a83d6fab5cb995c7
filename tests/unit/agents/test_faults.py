"""Whose fault it is, how long to wait, and how units are cut and joined."""

import pytest

from agents.faults import (
    CONTROL_INTERVAL_S,
    CONTROLLED_S,
    EndpointJudge,
    Findings,
    Parked,
    backoff_s,
    halve,
    halve_text,
    join_extractions,
    rejoin,
    split_messages,
    units_behind,
)
from schemas.conversation import message_id, messages_of
from schemas.memory import Extraction, Usage
from tests.support.extracting import unit


def rejected(*names: str, limit: int = 3) -> EndpointJudge:
    judge = EndpointJudge(limit)
    for name in names:
        judge = judge.after_rejection(("p", name))
    return judge


def test_the_endpoint_is_blamed_when_different_users_fail_in_a_row() -> None:
    assert not rejected("a", "b").blames_endpoint
    assert rejected("a", "b", "c").blames_endpoint


def test_an_outage_of_the_model_keeps_no_more_users_than_it_takes_to_blame_it() -> None:
    judge = EndpointJudge(3)
    for number in range(100):
        judge = judge.after_rejection(("p", f"u{number}"))
    assert judge.blames_endpoint
    assert len(judge.failing_users) == 3


def test_many_rejections_of_one_user_do_not_blame_the_endpoint() -> None:
    assert not rejected(*("a" * 20)).blames_endpoint


def test_the_same_user_id_in_two_projects_is_two_users() -> None:
    judge = EndpointJudge(2).after_rejection(("p", "a")).after_rejection(("q", "a"))
    assert judge.blames_endpoint


def test_one_success_clears_the_endpoint() -> None:
    judge = rejected("a", "b").after_success().after_rejection(("p", "c"))
    assert not judge.blames_endpoint


def test_content_is_to_blame_while_few_users_fail_and_in_doubt_when_nobody_said_why() -> None:
    judge = rejected("a")
    assert judge.blame(("p", "a"), False, 0.0) == "content"
    assert judge.blame(("p", "a"), True, 0.0) == "doubt"


def test_a_control_call_that_is_taken_lets_one_user_be_parked_and_nobody_else() -> None:
    judge = rejected("a", "b", "c")
    assert judge.blame(("p", "c"), False, 10.0) == "doubt"
    judge = judge.before_control(10.0)
    assert judge.blame(("p", "a"), False, 11.0) == "endpoint"
    judge = judge.after_control(("p", "c"), 12.0)
    assert judge.blame(("p", "c"), False, 13.0) == "content"
    assert judge.blame(("p", "a"), False, 13.0) == "endpoint"
    assert judge.blame(("p", "c"), False, 12.0 + CONTROLLED_S) == "endpoint"


def test_a_control_call_is_made_again_after_a_while_however_the_last_one_went() -> None:
    judge = rejected("a", "b", "c").before_control(10.0)
    assert judge.blame(("p", "a"), False, 9.0 + CONTROL_INTERVAL_S) == "endpoint"
    assert judge.blame(("p", "a"), False, 10.0 + CONTROL_INTERVAL_S) == "doubt"
    assert judge.after_control(("p", "c"), 10.0).blame(("p", "a"), False, 10.0 + CONTROL_INTERVAL_S) == "doubt"


def test_an_unexplained_refusal_is_put_to_the_test_once_an_attempt() -> None:
    judge = rejected("a").before_control(5.0).after_control(("p", "a"), 5.0)
    assert judge.blame(("p", "a"), True, 6.0) == "content"
    assert judge.after_rejection(("p", "b")).blame(("p", "b"), True, 6.0) == "doubt"


def test_waiting_doubles_up_to_the_maximum() -> None:
    delays = [backoff_s(failures, 0.5, 4.0, 0.0, 0.0) for failures in range(1, 7)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_jitter_takes_at_most_half_of_the_wait_away() -> None:
    assert backoff_s(2, 1.0, 60.0, 0.0, 1.0) == 1.0


def test_the_wait_is_never_below_what_the_endpoint_asked_for() -> None:
    assert backoff_s(1, 0.5, 60.0, 30.0, 0.9) == 30.0


def test_waiting_after_thousands_of_failures_does_not_overflow() -> None:
    assert backoff_s(100_000, 0.5, 60.0, 0.0, 0.0) == 60.0


def test_several_units_are_halved_between_units() -> None:
    halves = halve([unit("a", "1"), unit("b", "2"), unit("c", "3")])
    assert halves is not None
    assert [[item.blob_id for item in half] for half in halves] == [["a"], ["b", "c"]]


def test_a_single_blob_is_halved_between_its_messages() -> None:
    halves = halve([unit("a", "1", "2", "3", "4")])
    assert halves is not None
    assert [[item.key for item in half] for half in halves] == [
        [("a", 0, -1), ("a", 1, -1)],
        [("a", 2, -1), ("a", 3, -1)],
    ]


@pytest.mark.parametrize("single", [unit("a", "1"), unit("a", "1", "2").model_copy(update={"message_index": 1})])
def test_one_message_cannot_be_halved(single: object) -> None:
    assert halve([single]) is None  # type: ignore[list-item]


def test_pieces_keep_the_message_ids_of_the_whole_blob() -> None:
    whole = unit("a", "1", "2")
    pieces = split_messages(whole)
    assert [m.message_id for piece in pieces for m in messages_of(piece)] == [m.message_id for m in messages_of(whole)]


def test_halved_text_is_the_whole_text_cut_at_a_space() -> None:
    (message,) = messages_of(unit("a", "one two three four"))
    first, second = halve_text(message)
    assert (first.content, second.content) == ("one two ", "three four")


def test_a_blob_whose_pieces_all_went_well_is_applied_whole() -> None:
    whole = unit("a", "1", "2", "3")
    findings = Findings(applied=tuple(split_messages(whole)))
    assert rejoin([whole], findings).applied == (whole,)


def test_a_blob_with_a_parked_piece_is_applied_by_its_other_pieces() -> None:
    whole, other = unit("a", "1", "2", "3"), unit("b", "4")
    first, poison, third = split_messages(whole)
    findings = Findings(applied=(first, third, other), parked=(Parked(poison, "content-rejected", ""),))
    assert rejoin([whole, other], findings).applied == (first, third, other)


def test_units_behind_a_message_are_cut_down_to_that_message() -> None:
    behind, others = units_behind([unit("a", "1", "2"), unit("b", "3")], {message_id("a", 1)})
    assert [item.key for item in behind] == [("a", 1, -1)]
    assert [item.key for item in others] == [("a", 0, -1), ("b", -1, -1)]


def test_joined_extractions_add_up_their_usage_and_summaries() -> None:
    joined = join_extractions(
        [
            Extraction(summary="first", tags=(("mood", "good"),), usage=Usage(completions=1)),
            Extraction(usage=Usage(completions=1)),
            Extraction(summary="second", tags=(("mood", "good"),), usage=Usage(completions=2)),
        ]
    )
    assert joined.summary == "first\nsecond"
    assert joined.tags == (("mood", "good"),)
    assert joined.usage == Usage(completions=4)
