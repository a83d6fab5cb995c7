"""`memostream project create|list|revoke|suspend|resume`: who holds which token, and none of them in the database."""

import asyncpg
import pytest

from storage.project_tokens import id_of, project_of
from tests.conftest import plain_dsn
from tests.support.command_line import CommandLine


def project(shell: CommandLine, *arguments: str) -> str:
    return shell.call("project", *arguments).stdout.strip()


def refusal(shell: CommandLine, *arguments: str) -> str:
    return shell.call("project", *arguments, fails=True).stderr


def test_a_token_is_alone_on_standard_output_and_only_its_hash_is_stored(shell: CommandLine) -> None:
    done = shell.call("project", "create", "shop", "--label", "website")
    token = done.stdout.strip()
    assert project_of(token) == "shop"
    assert f"token {id_of(token)}. It is shown this once" in done.stderr

    (listed,) = shell.documents("project", "list")
    assert (listed["project_id"], listed["suspended"], listed["has_config"]) == ("shop", False, False)
    assert [(row["token_id"], row["label"], row["revoked_at"]) for row in listed["tokens"]] == [
        (id_of(token), "website", None)
    ]


async def test_nothing_in_the_database_opens_a_project(shell: CommandLine, database_url: str) -> None:
    token = project(shell, "create", "shop")
    connection = await asyncpg.connect(plain_dsn(database_url))
    try:
        stored = " ".join(map(str, await connection.fetch("SELECT * FROM project_tokens")))
        stored += " ".join(map(str, await connection.fetch("SELECT * FROM projects")))
    finally:
        await connection.close()
    assert id_of(token) in stored
    assert token not in stored
    assert token.rpartition("-")[2] not in stored


def test_a_project_may_have_several_tokens_and_loses_those_that_are_named(shell: CommandLine) -> None:
    first, second, third = (project(shell, "create", "shop") for _ in range(3))
    assert len({first, second, third}) == 3

    shown = shell.document("project", "revoke", "shop", id_of(first), second)
    assert shown == {"project_id": "shop", "revoked": sorted((id_of(first), id_of(second)))}
    (listed,) = shell.documents("project", "list")
    assert [row["revoked_at"] is None for row in listed["tokens"]] == [False, False, True]

    assert id_of(third) in project(shell, "revoke", "shop", "--all")
    assert "nothing to revoke any more" in project(shell, "revoke", "shop", "--all")
    assert "revoked" in project(shell, "list")


def test_an_unknown_token_leaves_the_others_and_is_not_repeated(shell: CommandLine) -> None:
    mine, of_another = project(shell, "create", "shop"), project(shell, "create", "blog")
    told = refusal(shell, "revoke", "shop", mine, of_another)
    assert f"project shop has no token {id_of(of_another)}; nothing was revoked" in told
    assert of_another not in told
    assert all(row["revoked_at"] is None for listed in shell.documents("project", "list") for row in listed["tokens"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "a/b"), "must not hold a slash"),
        (("create", "shop", "--label", "a\x1b[31mb"), "--label must be printable"),
        (("revoke", "shop"), "name the tokens to revoke, or say --all"),
        (("revoke", "shop", "1234", "--all"), "name the tokens to revoke, or say --all"),
        (("revoke", "nobody", "--all"), "there is no project nobody"),
        (("suspend", "nobody"), "there is no project nobody"),
        (("resume", "nobody"), "there is no project nobody"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_to_do(shell: CommandLine, arguments: tuple[str, ...], told: str) -> None:
    assert told in refusal(shell, *arguments)


def test_a_suspended_project_is_shown_as_such_until_it_is_resumed(shell: CommandLine) -> None:
    project(shell, "create", "shop")
    assert "suspended" in project(shell, "suspend", "shop")
    assert "suspended" in project(shell, "list")
    assert "is suspended" in shell.call("project", "create", "shop").stderr
    assert shell.document("project", "resume", "shop") == {"project_id": "shop", "suspended": False}
    assert "suspended" not in project(shell, "list")


def test_a_token_does_not_touch_the_configuration_nor_the_other_way_round(shell: CommandLine) -> None:
    (shell.folder / "shop.yaml").write_text("language: en\n", encoding="utf-8")
    project(shell, "config", "set", "shop", "shop.yaml")
    token = project(shell, "create", "shop")
    assert project(shell, "config", "show", "shop") == "language: en"
    project(shell, "config", "clear", "shop")
    (listed,) = shell.documents("project", "list")
    assert (listed["has_config"], [row["token_id"] for row in listed["tokens"]]) == (False, [id_of(token)])
