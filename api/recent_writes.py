"""Where the newest record of each user lies that this process has sent, so that who reads next finds it."""

from collections import OrderedDict
from typing import Final

from schemas.windows import Position

MAX_USERS: Final = 10_000


class RecentWrites:
    """The newest users only; who was forgotten here reads what the buffer knows by then."""

    def __init__(self, max_users: int = MAX_USERS) -> None:
        self._positions: OrderedDict[tuple[str, str], Position] = OrderedDict()
        self._max_users = max_users

    def note(self, project_id: str, user_id: str, position: Position) -> None:
        """A record of the user was acknowledged there."""
        key = project_id, user_id
        before = self._positions.pop(key, None)
        # Acknowledgements may overtake each other; on a topic that was made anew a later record lies lower.
        if before is not None and position.offset < before.offset and position.timestamp_ms <= before.timestamp_ms:
            position = before
        self._positions[key] = position
        if len(self._positions) > self._max_users:
            self._positions.popitem(last=False)

    def last(self, project_id: str, user_id: str) -> Position | None:
        return self._positions.get((project_id, user_id))
