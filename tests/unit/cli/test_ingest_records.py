"""From files to records: ids, order, and what is counted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from cli.ingest.files import find_files
from cli.ingest.plan import reading_of
from cli.ingest.records import Reading, Tally, moment_of
from cli.ingest.running import look_through, total_bytes
from cli.ingest.scratch import KeptRecord, Scratch
from cli.ingest.sources import FieldNames, Given
from cli.ingest.view import remarks, report_document, summary
from cli.preparing import Preparer
from schemas.errors import ConfigurationError, NotFound
from schemas.settings import Settings


def row(text: str, day: int | None = 1, user_id: str = "ann") -> dict[str, Any]:
    at = {} if day is None else {"created_at": f"2026-01-{day:02}T10:00:00Z"}
    return {"user_id": user_id, "role": "user", "content": text, **at}


def written(folder: Path, name: str, documents: Sequence[dict[str, Any]]) -> str:
    file = folder / name
    file.write_bytes(b"".join(orjson.dumps(document) + b"\n" for document in documents))
    return str(file)


def reading(*names: str, given: Given | None = None, sort: bool | None = None) -> Reading:
    return reading_of(
        Settings(), find_files(names, None, None), given or Given(), mapping_file=None, topic=None, sort=sort
    )


def records_of(wanted: Reading) -> list[KeptRecord]:
    with Scratch() as scratch:
        return list(wanted.records(scratch, Tally()))


def ids(*names: str, sort: bool | None = None) -> list[str]:
    return [orjson.loads(record.value)["id"] for record in records_of(reading(*names, sort=sort))]


def test_a_file_has_the_same_ids_again_also_under_another_name_and_inside_another_file(tmp_path: Path) -> None:
    talk = [row("yes"), row("yes"), row("no"), row("yes", 2), row("yes", None)]
    first = written(tmp_path, "a.jsonl", talk)
    copy = written(tmp_path, "copy.jsonl", talk)
    longer = written(tmp_path, "longer.jsonl", [row("hi", 1, "bob"), *talk, row("new", 9)])
    assert ids(copy) == ids(first)
    assert ids(longer)[1:-1] == ids(first)
    # Also in one run.
    assert ids(first, copy) == ids(first) * 2


def test_equal_messages_at_other_times_or_places_have_other_ids(tmp_path: Path) -> None:
    talk = [row("yes"), row("yes"), row("yes", 2), row("yes", None), row("yes", None), row("yes", 1, "bob")]
    assert len(set(ids(written(tmp_path, "a.jsonl", talk)))) == 6


def test_records_of_ours_have_the_ids_that_send_gives_them(tmp_path: Path) -> None:
    lines = [{"user_id": "ann", "blob_data": {"messages": [{"role": "user", "content": "a"}]}}] * 2
    preparer = Preparer(project_id=None, max_blob_bytes=10_000)
    sent = [orjson.loads(preparer.prepare(orjson.dumps(line)).value)["id"] for line in lines]
    assert ids(written(tmp_path, "a.jsonl", lines)) == sent


def test_an_export_of_chatgpt_that_has_grown_keeps_the_ids_of_what_it_had(tmp_path: Path) -> None:
    def exported(*texts: str) -> str:
        nodes: dict[str, Any] = {}
        for number, text in enumerate(texts):
            nodes[f"n{number}"] = {
                "message": {
                    "author": {"role": "assistant" if number % 2 else "user"},
                    "create_time": 1_767_261_600 + number,
                    "content": {"content_type": "text", "parts": [text]},
                },
                "parent": f"n{number - 1}" if number else None,
            }
        file = tmp_path / f"{len(texts)}.json"
        talk = {"id": "c", "title": f"{len(texts)}", "mapping": nodes, "current_node": f"n{len(texts) - 1}"}
        file.write_bytes(orjson.dumps([talk]))
        return str(file)

    given = Given(user_id="ann")
    short, grown = (records_of(reading(exported(*texts), given=given)) for texts in (["a", "b"], ["a", "b", "c", "d"]))
    assert grown[:1] == short
    assert len(grown) == 2


def test_the_key_is_the_user_and_the_time_is_the_one_it_was_said(tmp_path: Path) -> None:
    (record,) = records_of(reading(written(tmp_path, "a.jsonl", [row("hi", 3, "李梅")])))
    assert (record.key.decode(), record.user) == ("李梅", "default/李梅")
    assert orjson.loads(record.value)["created_at"] == "2026-01-03T10:00:00Z"
    assert record.at_ms is not None
    assert moment_of(record.at_ms).isoformat() == "2026-01-03T10:00:00+00:00"


def test_sorted_records_come_in_the_order_of_time_and_keep_their_ids(tmp_path: Path) -> None:
    talk = [row("c", 3), row("?", None), row("a", 1), row("b1", 2), row("b2", 2)]
    file = written(tmp_path, "a.jsonl", talk)
    in_order = records_of(reading(file, sort=True))
    assert [orjson.loads(record.value)["blob_data"]["messages"][0]["content"] for record in in_order] == [
        *("a", "b1", "b2", "c", "?")
    ]
    assert set(ids(file, sort=True)) == set(ids(file))


def test_an_array_is_sorted_unless_the_caller_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(orjson.dumps([row("b", 2), row("a", 1)]))
    lines = written(tmp_path, "a.jsonl", [row("b", 2), row("a", 1)])
    array = str(tmp_path / "a.json")
    assert [reading(array).in_order, reading(array, sort=False).in_order, reading(lines).in_order] == [
        True,
        False,
        False,
    ]


def test_a_dry_run_says_what_would_be_sent_and_names_what_would_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = [row("b", 5), row("a", 2), row("x", 1, "bob"), row("y", None, "bob"), {"role": "user", "content": "who?"}]
    file = written(tmp_path, "a.jsonl", [*talk, {"user_id": "bob", "messages": []}])
    report = look_through(reading(file))
    document = report_document(report, dry_run=True)
    assert [document[name] for name in ("records", "users", "untimed", "late", "refused", "sent")] == [4, 2, 1, 1, 1, 0]
    assert (document["first"], document["last"]) == ("2026-01-01T10:00:00+00:00", "2026-01-05T10:00:00+00:00")
    assert (document["by_reason"], document["ignored"]) == ({"mapping-failed": 1}, {"messages": 1})
    assert document["refusals"][0]["place"] == f"{file}:5"
    assert f"{file}:5: mapping-failed: user_id: yields nothing" in capsys.readouterr().err
    assert summary(report, dry_run=True) == (
        "would send 4 records of 2 users, said from 2026-01-01 10:00 to 2026-01-05 10:00, refused 1, left out 1"
    )
    assert [remark.split(":")[0] for remark in remarks(report.tally, in_order=False)] == [
        "1 record without a time",
        "1 record older than one before of the same user",
    ]
    assert len(remarks(report.tally, in_order=True)) == 1


def test_the_first_refusals_are_named_and_all_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = look_through(reading(written(tmp_path, "a.jsonl", [{"nothing": 1}] * 30 + [row("a")])))
    assert report.tally.refusals.count == 30
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (21, "and 10 more")


def test_an_input_without_a_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is nothing to send"):
        look_through(reading(written(tmp_path, "a.jsonl", [])))


def test_a_table_must_have_a_column_with_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("customer,text\nann,hi\n")
    with pytest.raises(ConfigurationError, match="has the columns customer, text; say with --content-field"):
        look_through(reading(str(file)))
    wrong = Given(FieldNames(user="user", content="text"))
    with pytest.raises(ConfigurationError, match="has no column user, which --user-field names; it has customer, text"):
        look_through(reading(str(file), given=wrong))
    right = Given(FieldNames(user="customer", content="text"), role="user")
    assert look_through(reading(str(file), given=right)).tally.records == 1


def test_bytes_are_counted_over_all_files(tmp_path: Path) -> None:
    names = [written(tmp_path, f"{number}.jsonl", [row("a")] * 3) for number in range(2)]
    tally = Tally()
    wanted = reading(*names)
    with Scratch() as scratch:
        assert len(list(wanted.records(scratch, tally))) == 6
    assert tally.read_bytes == total_bytes(wanted.files) == sum(Path(name).stat().st_size for name in names)


def test_a_user_who_has_no_time_is_met_and_never_late() -> None:
    with Scratch() as scratch:
        times = [None, 5, 4, None, 5, 6]
        assert [scratch.meet("default/ann", at_ms) for at_ms in times] == [False, False, True, False, False, False]
        assert scratch.users == 1
