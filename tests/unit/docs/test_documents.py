"""How blocks of a page are told apart, and how what they print is compared with what the page shows."""

import pytest

from tests.support.documents import Output, Page, disagreement, missing_text, parse_page


def page(*lines: str) -> Page:
    return parse_page("page.md", "\n".join(lines))


def test_commands_and_programs_are_run_and_what_follows_them_is_their_output() -> None:
    found = page("```sh", "echo 1", "```", "", "It prints:", "", "```text", "1", "```", "", "```python", "1 + 1", "```")
    assert [(step.kind, step.block.text) for step in found.steps] == [("run", "echo 1\n"), ("run", "1 + 1\n")]
    assert [output.text for output in found.steps[0].outputs] == ["1\n"]
    assert not found.problems


def test_a_block_with_a_file_name_is_written_whatever_its_language() -> None:
    (step,) = page("<!-- file: a/config.yaml -->", "```yaml", "a: 1", "```").steps
    assert (step.kind, step.name, step.block.text) == ("file", "a/config.yaml", "a: 1\n")


def test_several_comments_above_a_block_count_and_text_between_ends_them() -> None:
    (first, second) = page(
        "<!-- stop -->",
        "<!-- background: up -->",
        "",
        "```sh",
        "run",
        "```",
        "<!-- exit: 3 -->",
        "Then",
        "```sh",
        "x",
        "```",
    ).steps
    assert dict(first.block.directives) == {"stop": "", "background": "up"}
    assert second.exit_code == 0


def test_a_block_in_a_list_is_dedented() -> None:
    (step,) = page("1. First", "", "    <!-- exit: 1 -->", "    ```sh", "    if a; then", "      b", "    ```").steps
    assert (step.block.text, step.exit_code) == ("if a; then\n  b\n", 1)


@pytest.mark.parametrize(
    "lines",
    [
        ("```yaml", "a: 1", "```"),
        ("```json", "{}", "```"),
        ("```text", "printed by nothing", "```"),
        ("<!-- not run: -->", "```sh", "x", "```"),
        ("```java", "class A {}", "```"),
    ],
    ids=["yaml", "json", "text", "no reason", "java"],
)
def test_a_block_that_nobody_tries_and_that_says_not_why_is_a_problem(lines: tuple[str, ...]) -> None:
    assert len(page(*lines).problems) == 1


def test_a_picture_and_the_output_of_a_block_that_is_not_run_are_none() -> None:
    found = page("```", "a ──► b", "```", "<!-- not run: no key -->", "```sh", "x", "```", "```text", "y", "```")
    assert not found.problems
    assert not found.steps


def test_a_generated_page_has_no_steps() -> None:
    found = page("<!-- generated: make reference -->", "# Title", "", "```yaml", "a: 1", "```")
    assert found.generated
    assert not found.problems


def test_a_fence_that_is_not_closed_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 3"):
        page("# Title", "", "```sh", "x")


def test_shown_lines_must_be_printed_in_their_order_with_anything_between() -> None:
    assert missing_text("a 1\nc", "a    1\nb\nc d\n") is None
    assert missing_text("c\na", "a\nb\nc\n") == "a"
    assert missing_text("12:… + ann …/0", "x 12:30:01  + ann  Oslo  ← 7f/0") is None
    assert missing_text("12:… + ben", "12:30:01 + ann") == "12:… + ben"
    assert missing_text("───", "─────────") is None


@pytest.mark.parametrize(
    ("shown", "printed", "agrees"),
    [
        ('{"a": 1}', '{"a": 1, "b": 2}', True),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"a": "…", "b": ["…"]}', '{"a": null, "b": [{}]}', True),
        ('{"b": ["…"]}', '{"b": []}', False),
        ('{"id": "ann-…"}', '{"id": "ann-17"}', True),
        ('{"a": true}', '{"a": 1}', False),
        ('{"b": {"c": 1}}', 'said before\n{\n  "b": {\n    "c": 1\n  }\n}\n', True),
        ('{"a": 2}', '{"a": 1}\n{"a": 2}\n', True),
        ('{"a": 1}', "nothing", False),
    ],
)
def test_shown_json_must_be_in_the_last_printed_document(shown: str, printed: str, agrees: bool) -> None:
    assert (disagreement(Output("json", shown, 1), printed) is None) is agrees
