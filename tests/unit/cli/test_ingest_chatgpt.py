"""A conversation of ChatGPT's export becomes exchanges, each with the time of its first word."""

from typing import Any

import pytest

from cli.ingest.chatgpt import exchanges
from schemas.errors import InvalidRecord

JANUARY = 1_767_261_600.25


def message(role: str, *parts: Any, at: float | None = None, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "author": {"role": role},
        "create_time": at,
        "content": {"content_type": kind, "parts": list(parts)},
        "recipient": "all",
        **more,
    }


def conversation(*messages: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """One branch, from the root on."""
    nodes = {
        f"n{number}": {
            "message": one,
            "parent": f"n{number - 1}" if number else None,
            "children": [f"n{number + 1}"] if number + 1 < len(messages) else [],
        }
        for number, one in enumerate(messages)
    }
    last = f"n{len(messages) - 1}"
    return {"conversation_id": "c-1", "create_time": JANUARY, "mapping": nodes, "current_node": last, **more}


def texts(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["role"], one["content"]) for one in record["blob_data"]["messages"]]


def test_each_question_and_its_answer_are_a_record_of_their_own_time() -> None:
    day = 86_400.0
    records = exchanges(
        conversation(
            None,
            message("system", ""),
            message("user", "I moved to Oslo", at=JANUARY),
            message("assistant", "Nice", at=JANUARY + 3),
            message("user", "I have a dog", at=JANUARY + 60 * day),
            message("user", "called Rex", at=JANUARY + 60 * day + 1),
            message("assistant", "Good dog", at=JANUARY + 60 * day + 2),
        )
    )
    assert [record["created_at"] for record in records] == [
        "2026-01-01T10:00:00.250000+00:00",
        "2026-03-02T10:00:00.250000+00:00",
    ]
    assert [texts(record) for record in records] == [
        [("user", "I moved to Oslo"), ("assistant", "Nice")],
        [("user", "I have a dog"), ("user", "called Rex"), ("assistant", "Good dog")],
    ]
    assert {record["session_id"] for record in records} == {"c-1"}
    assert records[0]["blob_data"]["messages"][1]["created_at"] == "2026-01-01T10:00:03.250000+00:00"


def test_only_what_was_said_and_shown_is_taken() -> None:
    records = exchanges(
        conversation(
            message("user", "custom instructions", kind="user_editable_context"),
            message("user", "hidden", metadata={"is_visually_hidden_from_conversation": True}),
            message("user", {"content_type": "image_asset_pointer"}, "What is this?", kind="multimodal_text"),
            message("assistant", "search('cat')", recipient="browser"),
            message("tool", "a page"),
            message("assistant", "thinking", kind="thoughts"),
            message("assistant", "  "),
            message("assistant", {"content_type": "audio_transcription", "text": "A cat."}, kind="multimodal_text"),
        )
    )
    assert [texts(record) for record in records] == [[("user", "What is this?"), ("assistant", "A cat.")]]


def test_the_branch_that_was_seen_last_counts() -> None:
    tree = conversation(message("user", "first try", at=JANUARY), message("assistant", "answer", at=JANUARY + 1))
    tree["mapping"]["edited"] = {"message": message("user", "second try", at=JANUARY + 9), "parent": None}
    tree["mapping"]["again"] = {"message": message("assistant", "better", at=JANUARY + 10), "parent": "edited"}
    assert texts(exchanges({**tree, "current_node": "again"})[0]) == [("user", "second try"), ("assistant", "better")]
    assert texts(exchanges({**tree, "current_node": "n1"})[0]) == [("user", "first try"), ("assistant", "answer")]
    # Without it, the one with the newest message.
    tree["mapping"]["edited"]["children"] = ["again"]
    assert texts(exchanges({**tree, "current_node": None})[0])[1] == ("assistant", "better")


def test_what_has_no_time_has_that_of_what_came_before() -> None:
    records = exchanges(
        conversation(
            message("user", "a"), message("assistant", "b", at=JANUARY + 5), message("user", "c"), message("user", "d")
        )
    )
    assert [record["created_at"] for record in records] == [
        "2026-01-01T10:00:05.250000+00:00",
        "2026-01-01T10:00:05.250000+00:00",
    ]


def test_a_conversation_in_which_nothing_was_said_has_no_exchange() -> None:
    assert exchanges(conversation(None, message("system", "be kind"))) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"current_node": "elsewhere"},
        {"mapping": {"n0": {"parent": "n0"}}, "current_node": "n0"},
        {"mapping": {"n0": 5}, "current_node": "n0"},
        {"create_time": "yesterday"},
        {"create_time": 1e300},
        {"conversation_id": 5},
    ],
)
def test_a_broken_conversation_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord) as caught:
        exchanges({**conversation(message("user", "hi")), **broken})
    assert caught.value.reason == "invalid-conversation"
