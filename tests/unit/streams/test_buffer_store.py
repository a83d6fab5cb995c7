"""Local copies of the buffer: both stores pass the same tests; what RocksDB cannot vouch for is discarded."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.buffer_store import META_KEY, MemoryPartitionStore, PartitionStore, RocksPartitionStore
from streams.topics import TOMBSTONE_RETENTION_MS

OpenStore = Callable[[], PartitionStore]


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PartitionStore:
    return MemoryPartitionStore() if request.param == "memory" else RocksPartitionStore(tmp_path / "partition-0")


def test_an_empty_store_knows_no_offset(store: PartitionStore) -> None:
    assert store.next_offset is None
    assert list(store.items()) == []
    assert store.get(b"a") is None


def test_changes_and_their_offset_are_there_together(store: PartitionStore) -> None:
    store.write({b"a": b"1", b"b": b"2"}, 10)
    store.write({b"a": None, b"c": b"3"}, 12)
    assert dict(store.items()) == {b"b": b"2", b"c": b"3"}
    assert store.get(b"a") is None
    assert store.next_offset == 12


def test_removing_what_is_not_there_is_no_error(store: PartitionStore) -> None:
    store.write({b"a": None}, 1)
    assert list(store.items()) == []


def test_a_destroyed_store_is_empty_and_can_be_written_again(store: PartitionStore) -> None:
    store.write({b"a": b"1"}, 10)
    store.destroy()
    assert store.next_offset is None
    assert list(store.items()) == []
    store.write({b"b": b"2"}, 3)
    assert dict(store.items()) == {b"b": b"2"}


def filled(folder: Path) -> None:
    first = RocksPartitionStore(folder)
    first.write({b'["p","u","chat"]': b"head", b'["p","u","chat",0]': b"entry"}, 42)
    first.close()


def test_a_rocksdb_copy_survives_a_restart(tmp_path: Path) -> None:
    filled(tmp_path / "p")
    again = RocksPartitionStore(tmp_path / "p")
    assert again.next_offset == 42
    assert dict(again.items()) == {b'["p","u","chat"]': b"head", b'["p","u","chat",0]': b"entry"}


def test_a_rocksdb_copy_that_cannot_be_opened_is_discarded(tmp_path: Path) -> None:
    filled(tmp_path / "p")
    for name in ("CURRENT", *(path.name for path in (tmp_path / "p").glob("MANIFEST-*"))):
        (tmp_path / "p" / name).write_bytes(b"garbage")
    again = RocksPartitionStore(tmp_path / "p")
    assert again.next_offset is None
    assert list(again.items()) == []
    again.write({b"a": b"1"}, 1)
    assert again.get(b"a") == b"1"


def test_a_rocksdb_copy_with_a_damaged_block_is_discarded(tmp_path: Path) -> None:
    entries = {b"entry-%04d" % number: b"%d" % number * 200 for number in range(1000)}
    first = RocksPartitionStore(tmp_path / "p")
    first.write(entries, 42)
    first._database.flush()
    first.close()
    table = next((tmp_path / "p").glob("*.sst"))
    content = bytearray(table.read_bytes())
    content[10_000:10_100] = bytes(100)
    table.write_bytes(content)
    again = RocksPartitionStore(tmp_path / "p")
    assert again.next_offset is None
    assert list(again.items()) == []


def test_a_rocksdb_log_cut_in_its_middle_leaves_changes_and_offset_of_one_moment(tmp_path: Path) -> None:
    first = RocksPartitionStore(tmp_path / "p")
    for number in range(50):
        first.write({b"count": b"%d" % number, b"entry-%d" % number: b"x" * 100}, number)
    # What a kill leaves: a log that was never closed, and of which the end is missing.
    log = next((tmp_path / "p").glob("*.log"))
    killed = tmp_path / "killed"
    killed.mkdir()
    for path in (tmp_path / "p").iterdir():
        if path.name != "LOCK":
            (killed / path.name).write_bytes(path.read_bytes())
    (killed / log.name).write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    again = RocksPartitionStore(killed)
    offset = again.next_offset
    assert offset is not None
    assert 0 < offset < 49
    assert again.get(b"count") == b"%d" % offset
    assert len(dict(again.items())) == offset + 2


@pytest.mark.parametrize(("age_ms", "kept"), [(0, True), (TOMBSTONE_RETENTION_MS // 2 + 60_000, False)])
def test_a_rocksdb_copy_that_may_have_missed_tombstones_is_discarded(tmp_path: Path, age_ms: int, kept: bool) -> None:
    filled(tmp_path / "p")
    # Rewritten by hand with another time of saving.
    from rocksdict import Options, Rdict

    database = Rdict(str(tmp_path / "p"), Options(raw_mode=True))
    database[META_KEY] = b"42 %d" % (int(time.time() * 1000) - age_ms)
    database.close()
    again = RocksPartitionStore(tmp_path / "p")
    assert again.next_offset == (42 if kept else None)
    assert len(dict(again.items())) == (2 if kept else 0)


def files_with(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_a_copy_holds_the_same_and_knows_that_it_is_clean(store: PartitionStore) -> None:
    store.write({b"a": b"1", b"b": b"2"}, 10, 7)
    store.write({b"a": None}, 12)
    assert store.copy_live()
    store.take_copy(9)
    assert dict(store.items()) == {b"b": b"2"}
    assert store.next_offset == 12
    assert store.is_clean_at(9)
    store.write({b"c": b"3"}, 13, 10)
    assert dict(store.items()) == {b"b": b"2", b"c": b"3"}
    assert store.is_clean_at(10)


@pytest.mark.parametrize("flushed", [False, True], ids=["in the log", "in a table"])
def test_a_copy_leaves_nothing_on_disk_of_what_was_removed(tmp_path: Path, flushed: bool) -> None:
    store = RocksPartitionStore(tmp_path / "p")
    store.write({b'["p","frank","chat",0]': b"I live in Lyon", b'["p","ann","chat",0]': b"I live in Oslo"}, 42)
    if flushed:
        store._database.flush()
    store.write({b'["p","frank","chat",0]': None}, 43)
    assert files_with(tmp_path, b"frank")
    assert store.copy_live()
    store.take_copy(5)
    assert files_with(tmp_path, b"frank") == []
    assert files_with(tmp_path, b"Lyon") == []
    assert dict(store.items()) == {b'["p","ann","chat",0]': b"I live in Oslo"}
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_rocksdb_copy_is_clean_only_where_it_was_written_so(tmp_path: Path) -> None:
    filled(tmp_path / "p")
    first = RocksPartitionStore(tmp_path / "p")
    assert not first.is_clean_at(0)
    first.write({b"a": b"1"}, 43, 8)
    first.close()
    again = RocksPartitionStore(tmp_path / "p")
    assert again.is_clean_at(8)
    assert not again.is_clean_at(9)
    again.write({b"a": b"2"}, 44)
    assert not again.is_clean_at(8)


def test_a_rocksdb_copy_of_a_former_version_is_read_and_not_clean(tmp_path: Path) -> None:
    first = RocksPartitionStore(tmp_path / "p")
    first._database[META_KEY] = b"42 %d" % int(time.time() * 1000)
    first.close()
    again = RocksPartitionStore(tmp_path / "p")
    assert again.next_offset == 42
    assert not again.is_clean_at(0)


def test_what_a_kill_leaves_of_a_copy_goes_at_the_next_start(tmp_path: Path) -> None:
    killed = RocksPartitionStore(tmp_path / "p")
    killed.write({b"a": b"1"}, 1)
    assert killed.copy_live()
    killed._database.close()
    again = RocksPartitionStore(tmp_path / "p")
    assert dict(again.items()) == {b"a": b"1"}
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_store_that_is_closed_is_not_copied_any_more(tmp_path: Path) -> None:
    store = RocksPartitionStore(tmp_path / "p")
    store.write({b"a": b"1"}, 1)
    store.close()
    assert not store.copy_live()
    assert not (tmp_path / "p.copy").exists()
