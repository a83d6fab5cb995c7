"""The audit's checks on a real system."""

import orjson

from tests.support.command_line import CommandLine


def test_nothing_is_wrong_with_a_system_that_works(working: CommandLine) -> None:
    users = [f"user-{number}" for number in range(20)]
    for text in ("I live in Bergen.", "I work as a nurse and I have a dog.", "I moved to Oslo."):
        file = working.folder / "chats.jsonl"
        file.write_bytes(
            b"\n".join(
                orjson.dumps({"user_id": user, "blob_data": {"messages": [{"role": "user", "content": text}]}})
                for user in users
            )
        )
        working.call("send", str(file))
        working.call("flush", "--all")
    account = working.document("audit")
    assert account["agrees"]
    looked_at = {check["name"]: check["looked_at"] for check in account["checks"]}
    assert looked_at["records"] == looked_at["ledger"] == 120
    assert looked_at["order"] == 60
    assert looked_at["profiles"] == 20
    assert looked_at["changes"] > 60
    assert [check["wrong"] + check["unsettled"] for check in account["checks"]] == [0] * 10
