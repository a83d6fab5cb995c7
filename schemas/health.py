"""What keeps a process from its work, as it knows itself."""

from collections.abc import Mapping


class Health:
    """What is wrong at present, by part; nothing is healthy."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """Reasons that may be shown to a user, by part (`endpoint`)."""
        return dict(self._problems)

    def report(self, part: str, reason: str) -> None:
        self._problems[part] = reason

    def clear(self, part: str) -> None:
        self._problems.pop(part, None)
