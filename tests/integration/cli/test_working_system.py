"""The commands against a running worker, a real broker and a real database."""

import time
from collections import Counter
from typing import Any

import orjson

from tests.support.command_line import CommandLine


def lines(*documents: dict[str, Any]) -> bytes:
    return b"\n".join(orjson.dumps(document) for document in documents)


def said(user_id: str, text: str, **envelope: Any) -> dict[str, Any]:
    return {"user_id": user_id, **envelope, "blob_data": {"messages": [{"role": "user", "content": text}]}}


def facts(shell: CommandLine, user_id: str, *options: str) -> dict[str, str]:
    profile = shell.document("profile", user_id, *options)
    return {f"{entry['topic']}/{entry['sub_topic']}": entry["content"] for entry in profile["entries"]}


def test_a_message_becomes_a_fact_that_names_it_and_an_event_and_a_change(working: CommandLine) -> None:
    assert working.document("send", "--user", "ann", "My name is Ann and I live in Bergen.")["sent"] == 1
    assert working.document("flush", "ann")["users"] == 1
    profile = working.document("profile", "ann")
    by_slot = {(entry["topic"], entry["sub_topic"]): entry for entry in profile["entries"]}
    city = by_slot["contact_info", "city"]
    assert city["content"] == "Bergen"
    assert len(city["message_ids"]) == 1
    assert profile["extractor"]["name"] == "offline"
    assert city["message_ids"][0] in working.document("events", "ann")["message_ids"]
    changes = working.documents("watch", "--from-beginning", "--user", "ann", "--limit", str(len(by_slot)))
    assert {change["headers"]["ce_subject"] for change in changes} == {"ann"}
    assert "offline extractor (rules, no model)" in working.call("profile", "ann").stderr


def outcomes(shell: CommandLine) -> Counter[str]:
    """Counts of the audit, of those that occur."""
    return +Counter(shell.document("audit")["counts"])


def test_flush_all_waits_for_many_users_on_the_same_partition(working: CommandLine) -> None:
    users = [f"many-{number}" for number in range(20)]
    before = outcomes(working)
    file = working.folder / "many.jsonl"
    file.write_bytes(lines(*(said(user, "I live in Leeds.") for user in users)))
    assert working.document("send", str(file))["sent"] == 20
    assert working.document("flush", "--all", "--wait-held")["users"] == 20
    assert outcomes(working) - before == {"applied": 20, "command": 20}
    assert facts(working, users[0]) == facts(working, users[-1]) == {"contact_info/city": "Leeds"}


def test_the_same_file_sent_twice_changes_nothing(working: CommandLine) -> None:
    document = lines(said("twice", "I live in Bergen."), said("twice", "I work as a nurse."))
    file = working.folder / "chats.jsonl"
    file.write_bytes(document)
    start = outcomes(working)
    working.call("send", str(file))
    working.call("flush", "twice")
    before = working.document("profile", "twice")
    working.call("send", str(file))
    working.call("flush", "twice")
    assert working.document("profile", "twice") == before
    assert outcomes(working) - start == {"applied": 2, "duplicate": 2, "command": 2}


def test_a_forgotten_user_is_gone_and_may_come_back(working: CommandLine) -> None:
    start = outcomes(working)
    working.call("send", "--user", "gone", "My name is Gunn and I live in Bergen.")
    working.call("flush", "gone")
    working.call("send", "--user", "gone", "I work as a nurse.")
    working.run("send", "-", stdin=lines({"command": "forget-user", "user_id": "gone"}))
    # Ordered behind the forget, so its end is the forget's end.
    working.call("flush", "gone")
    assert facts(working, "gone") == {}
    assert "no event is remembered of gone" in working.call("events", "gone", fails=True).stderr
    assert outcomes(working) - start == {"erased": 2, "command": 3}
    working.call("send", "--user", "gone", "I live in Oslo.")
    working.call("flush", "gone")
    assert facts(working, "gone") == {"contact_info/city": "Oslo"}


def test_bad_lines_are_named_and_the_good_ones_are_sent(working: CommandLine) -> None:
    given = b"\n".join([b"no json", lines(said("bad", "I live in Bergen.")), b"", b'{"user_id": ""}', b"\xff"])
    done = working.run("send", "-", stdin=given, fails=True)
    assert done.exit_code == 1
    refused = [line.split(":")[1:3] for line in done.stderr.splitlines() if line.startswith("stdin:")]
    assert refused == [["1", " invalid-json"], ["4", " invalid-record"], ["5", " invalid-utf8"]]
    assert "sent 1 record" in done.stdout
    working.call("flush", "bad")
    assert facts(working, "bad") == {"contact_info/city": "Bergen"}


def test_projects_are_kept_apart(working: CommandLine) -> None:
    for project, city in (("one", "Bergen"), ("two", "Leeds")):
        working.call("send", "--project", project, "--user", "both", f"I live in {city}.")
        working.call("flush", "both", "--project", project)
    assert facts(working, "both", "--project", "one")["contact_info/city"] == "Bergen"
    assert facts(working, "both", "--project", "two")["contact_info/city"] == "Leeds"
    unknown = working.call("profile", "both", fails=True)
    assert "nothing is remembered of both in project default" in unknown.stderr


def test_what_waits_for_its_window_is_buffered(working: CommandLine) -> None:
    working.call("send", "--user", "waits", "I live in Bergen.")
    while (found := outcomes(working))["unread"]:
        time.sleep(0.2)
    assert found["buffered"] == 1
    working.call("flush", "waits")
    assert outcomes(working)["buffered"] == 0


def test_before_any_worker_everything_is_unread_and_a_flush_says_what_it_waits_for(shell: CommandLine) -> None:
    (shell.folder / "some.jsonl").write_bytes(lines(*(said("ann", f"number {number}") for number in range(6))))
    shell.call("send", "some.jsonl")
    account = shell.document("audit")
    assert account["counts"]["unread"] == account["records"] == 6
    parts = [
        shell.document("audit", "--topic-partition", str(partition), "--from-offset", "2", "--to-offset", "5")
        for partition in range(2)
    ]
    assert sorted(part["records"] for part in parts) == [0, 3]
    assert shell.call("audit", "--topic-partition", "9", fails=True).exit_code == 2
    gave_up = shell.call("flush", "--all", "--timeout-s", "2", fails=True)
    assert gave_up.exit_code == 1
    assert "gave up after 2 s, waiting for the buffer agent (6 left)" in gave_up.stderr


def test_a_worker_that_is_told_to_stop_exits_0(shell: CommandLine) -> None:
    with shell.background("worker", until="worker.started") as worker:
        assert worker.stop() == 0
