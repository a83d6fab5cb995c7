"""What a partition remembers of windows and refusals: of whom, how much, and until when."""

from uuid import UUID

from schemas.buffer_views import ClosedBlob, ClosedWindow, ParkedRecord
from streams.buffer_memory import BufferMemory, Closed, Forgotten, Parked, User

ANN = User("default", "ann")
BEN = User("default", "ben")
NAMESAKE = User("other", "ann")


def closed(user: User, number: int, blobs: int = 1) -> Closed:
    held = tuple(ClosedBlob(blob_id=f"b{number}.{n}", content_hash="h", offset=n) for n in range(blobs))
    window = ClosedWindow(window_id=UUID(int=number), blob_type="chat", reason="tokens", closed_by=number, blobs=held)
    return Closed(user, window)


def parked(user: User, offset: int) -> Parked:
    return Parked(user, ParkedRecord(offset=offset, blob_id=None, reason="id-conflict"))


def numbers(memory: BufferMemory, user: User) -> list[int]:
    return [window.window_id.int for window in memory.closed(user)]


def test_each_user_is_told_of_their_own_in_order() -> None:
    memory = BufferMemory()
    for outcome in (closed(ANN, 1), closed(BEN, 2), parked(ANN, 7), closed(ANN, 3), closed(NAMESAKE, 4)):
        memory.remember(outcome)
    assert numbers(memory, ANN) == [1, 3]
    assert numbers(memory, BEN) == [2]
    assert numbers(memory, NAMESAKE) == [4]
    assert [record.offset for record in memory.parked(ANN)] == [7]
    assert memory.parked(BEN) == ()


def test_the_oldest_go_first_whosever_they_are() -> None:
    memory = BufferMemory(max_blobs=4)
    for outcome in (closed(ANN, 1, 2), parked(BEN, 5), closed(BEN, 2, 1), closed(ANN, 3, 1)):
        memory.remember(outcome)
    assert (numbers(memory, ANN), numbers(memory, BEN), len(memory.parked(BEN))) == ([3], [2], 1)
    memory.remember(closed(ANN, 4, 2))
    assert (numbers(memory, ANN), numbers(memory, BEN), len(memory.parked(BEN))) == ([3, 4], [2], 0)


def test_a_window_that_is_too_large_is_not_remembered_and_drops_the_others() -> None:
    memory = BufferMemory(max_blobs=3)
    memory.remember(closed(ANN, 1))
    memory.remember(closed(BEN, 2, 4))
    assert (numbers(memory, ANN), numbers(memory, BEN)) == ([], [])
    memory.remember(closed(BEN, 3))
    assert numbers(memory, BEN) == [3]


def test_a_forgotten_user_is_remembered_only_from_then_on() -> None:
    memory = BufferMemory(max_blobs=3)
    for outcome in (closed(ANN, 1), parked(ANN, 1), closed(BEN, 2), Forgotten(ANN)):
        memory.remember(outcome)
    assert (numbers(memory, ANN), memory.parked(ANN), numbers(memory, BEN)) == ([], (), [2])
    # What is dropped now is what was forgotten, not what came after it.
    memory.remember(closed(ANN, 3))
    memory.remember(closed(ANN, 4))
    assert (numbers(memory, ANN), numbers(memory, BEN)) == ([3, 4], [2])


def test_users_of_whom_nothing_is_left_take_no_room() -> None:
    memory = BufferMemory(max_blobs=2)
    for number in range(10):
        memory.remember(closed(User("default", f"u{number}"), number))
    assert list(memory._users) == [User("default", "u8"), User("default", "u9")]
