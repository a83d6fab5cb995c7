"""Ids that no record can have are refused before anything is looked up."""

import pytest
from typer.testing import CliRunner

from cli.main import app
from schemas.errors import ConfigurationError

LONG = "u" * 256


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("replay", "plan", "--to-earliest", "--user", ""), "--user: must be 1 to 255 bytes long, is 0"),
        (("replay", "run", "--to-earliest", "--project", "a/b"), "--project: must not hold a slash"),
        (("replay", "diff", "b", "--user", ""), "--user: must be 1 to 255 bytes long, is 0"),
        (("replay", "promote", "b", "--project", ""), "--project: must be 1 to 255 bytes long, is 0"),
        (("dead-letters", "list", "--user", LONG), "--user: must be 1 to 255 bytes long, is 256"),
        (("dead-letters", "drop", "--project", "a/b"), "--project: must not hold a slash"),
        (("publish-snapshot", "--user", ""), "--user: must be 1 to 255 bytes long, is 0"),
        (("export", ""), "USER: must be 1 to 255 bytes long, is 0"),
        (("import", "ann.jsonl", "--project", LONG), "--project: must be 1 to 255 bytes long, is 256"),
        (("ingest", __file__, "--format", "csv", "--user", ""), "--user: must be 1 to 255"),
    ],
)
def test_a_user_or_a_project_that_cannot_be_is_refused(arguments: tuple[str, ...], problem: str) -> None:
    error = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(error, ConfigurationError)
    assert problem in str(error)
