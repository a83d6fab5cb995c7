"""What a partition's buffer has lately done with users' records, remembered in memory for those who wait for it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.buffer_views import ClosedWindow, ParkedRecord

# Of one partition; about 200 bytes each.
MAX_REMEMBERED_BLOBS: Final = 10_000


class User(NamedTuple):
    """Whose records they are."""

    project_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A window was sent."""

    user: User
    window: ClosedWindow


@dataclass(frozen=True, slots=True)
class Parked:
    """A record of a user was put into `dead-letters`."""

    user: User
    record: ParkedRecord


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A forget has emptied the user's buffer; ids of before must not be shown again."""

    user: User


Outcome = Closed | Parked | Forgotten


@dataclass(slots=True)
class _OfUser:
    outcomes: deque[Closed | Parked] = field(default_factory=deque)


class BufferMemory:
    """The newest outcomes, up to so many blobs; the oldest go first, whosever they are."""

    def __init__(self, max_blobs: int = MAX_REMEMBERED_BLOBS) -> None:
        self._max_blobs = max_blobs
        self._blobs = 0
        self._in_order: deque[tuple[_OfUser, Closed | Parked]] = deque()
        self._users: dict[User, _OfUser] = {}

    def remember(self, outcome: Outcome) -> None:
        """Take note of what was committed, in the order of the partition."""
        if isinstance(outcome, Forgotten):
            # What is left of it in the common order finds no user any more.
            self._users.pop(outcome.user, None)
            return
        of_user = self._users.setdefault(outcome.user, _OfUser())
        of_user.outcomes.append(outcome)
        self._in_order.append((of_user, outcome))
        self._blobs += _blobs_of(outcome)
        while self._blobs > self._max_blobs:
            self._drop_oldest()

    def closed(self, user: User) -> tuple[ClosedWindow, ...]:
        return tuple(outcome.window for outcome in self._of(user) if isinstance(outcome, Closed))

    def parked(self, user: User) -> tuple[ParkedRecord, ...]:
        return tuple(outcome.record for outcome in self._of(user) if isinstance(outcome, Parked))

    def _of(self, user: User) -> deque[Closed | Parked]:
        of_user = self._users.get(user)
        return deque() if of_user is None else of_user.outcomes

    def _drop_oldest(self) -> None:
        of_user, outcome = self._in_order.popleft()
        of_user.outcomes.popleft()
        self._blobs -= _blobs_of(outcome)
        if not of_user.outcomes and self._users.get(outcome.user) is of_user:
            del self._users[outcome.user]


def _blobs_of(outcome: Closed | Parked) -> int:
    return len(outcome.window.blobs) if isinstance(outcome, Closed) else 1
