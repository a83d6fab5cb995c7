"""Sources in the configuration: what is refused when settings are read, and how the error says so."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from tests.support.sources import LINES, TICKETS, TICKETS_YAML, source


def refused(*sources: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={}, overrides={"ingest": {"sources": sources}})
    return str(caught.value)


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**LINES, **changes}.items() if value is not None}


def test_a_usual_mapping_takes_ten_lines_of_yaml(tmp_path: Path) -> None:
    text = TICKETS_YAML.replace("TOPIC", "tickets")
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert load_settings(tmp_path / "config.yaml", {}).ingest.sources == (source(TICKETS),)
    assert len(text.splitlines()) == 10


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("value.user[", "is no JMESPath, look at column 12"),
        ("value.'user'.x..y", "is no JMESPath, look at column"),
        ("value.user-id", "is no JMESPath, look at column 11"),
        ("value ! user", "is no JMESPath, look at column"),
        ("", "is empty"),
        ("lower(value.user)", "calls lower(), which JMESPath does not have"),
        ("value.list[?ends_with(name)]", "calls ends_with() with 1 arguments, it takes 2"),
        ("not_null()", "calls not_null() with 0 arguments, it takes 1"),
        ("user.id", "begins with user at column 1, which is not there"),
        ("value.a || usr.b", "did you mean value.usr?"),
        ("message.user", "begins with message at column 1"),
        ("value." + "x" * 3000, "characters, 2000 are allowed"),
        ("(" * 900 + "value" + ")" * 900, "is nested too deep"),
    ],
)
def test_an_expression_that_can_never_work_names_source_field_expression_and_column(
    expression: str, complaint: str
) -> None:
    error = refused(changed(user_id=expression))
    assert f"source lines: user_id: the expression `{expression}` " in error
    assert complaint in error


@pytest.mark.parametrize(
    "expression",
    [
        "value.users[?active].id | [0]",
        "value.users[*].id | [0]",
        'not_null(value.a, item.b, key, headers."user-id", headers.ce_subject)',
        "value.list[?name == 'x'].{id: id, n: length(name)} | [0].id",
        "sort_by(value.list, &at)[-1].id",
        "join('-', [topic, to_string(partition), to_string(offset), to_string(timestamp_ms)])",
        "'everybody'",
        "value",
        "value.map(&id, @) | [0]",
    ],
)
def test_what_looks_deeper_into_the_document_is_not_taken_for_its_beginning(expression: str) -> None:
    assert source(user_id=expression).expressions["user_id"] == expression


def test_all_wrong_expressions_of_a_source_are_named_at_once() -> None:
    error = refused(changed(user_id="usr", content="value."))
    assert "user_id: the expression `usr`" in error
    assert "content: the expression `value.`" in error


def test_only_expressions_of_messages_see_a_message_and_only_those_of_items_an_item() -> None:
    assert source(messages="item.thread", content="message.text", role="message.from").messages == "item.thread"
    assert "begins with item" in refused(changed(each="item.list"))
    assert "begins with item" in refused(changed(where="item.kind"))
    assert "begins with message" in refused(changed(session_id="message.session"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"content": None}, "source lines: content is missing"),
        ({"defaults": None}, "source lines: role is missing"),
        ({"blob_data": "value.data"}, "source lines: blob_data stands in place of content"),
        ({"user_id": None}, "user_id: is missing"),
        ({"topic": None}, "topic: is missing"),
        ({"topic": "two words"}, "topic: "),
        ({"usr_id": "value.user"}, "unknown key usr_id; did you mean user_id?"),
        ({"defaults": {"role": "user", "projekt_id": "p"}}, "unknown key projekt_id; did you mean project_id?"),
        ({"defaults": {"role": "customer"}}, "defaults.role: "),
        ({"defaults": {"role": "user", "project_id": "a/b"}}, "must not hold a slash"),
        ({"roles": {"customer": "usr"}}, "roles.customer: "),
        ({"time_format": "ms"}, "time_format: "),
    ],
)
def test_a_source_that_does_not_fit_together_is_refused(changes: dict[str, Any], complaint: str) -> None:
    assert complaint in refused(changed(**changes))


def test_a_role_is_not_asked_for_where_blobs_are_no_chats() -> None:
    assert source(defaults={"blob_type": "doc"}).role is None
    assert source(blob_type="value.type", defaults=None).role is None
    assert source(content=None, blob_data="value.data", defaults=None).role is None


def test_two_sources_of_one_topic_are_refused() -> None:
    assert "two sources read topic lines" in refused(LINES, changed(content="value.other"))


def test_words_for_roles_may_be_true_false_and_numbers() -> None:
    assert source(role="value.bot", roles={True: "assistant", False: "user", 7: "drop"}).roles == {
        "true": "assistant",
        "false": "user",
        "7": "drop",
    }


def test_sources_can_be_set_by_an_environment_variable() -> None:
    variable = '[{"topic": "lines", "user_id": "value.user", "content": "value.text", "defaults": {"role": "user"}}]'
    assert load_settings(environ={"MEMOSTREAM_INGEST__SOURCES": variable}).ingest.sources == (source(),)
