"""Ids of users and projects in options."""

from schemas.errors import ConfigurationError
from schemas.records import check_id, check_project_id


def check_ids(user_id: str | None, project_id: str | None, *, user_option: str = "--user") -> None:
    """Raises ConfigurationError for a user or a project that no record can name; None is anybody."""
    given = ((user_option, user_id, check_id), ("--project", project_id, check_project_id))
    for option, value, check in given:
        try:
            if value is not None:
                check(value)
        except ValueError as error:
            raise ConfigurationError(f"{option}: {error}") from error


def named(project_id: str | None, user_id: str | None) -> str:
    """For a message: the user or the project that somebody asked for, of which at least one is given."""
    words = [f"{kind} {name}" for kind, name in (("user", user_id), ("project", project_id)) if name is not None]
    return " in ".join(words)
