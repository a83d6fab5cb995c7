"""What has to be remembered of an input, on disk where it is much: a temporary SQLite database."""

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

CACHE_KIB: Final = 64 * 1024
_SCHEMA: Final = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = FILE;
    CREATE TABLE ordinals (first_id BLOB PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE users (user TEXT PRIMARY KEY, latest_ms INTEGER) WITHOUT ROWID;
    CREATE TABLE records (number INTEGER PRIMARY KEY, key BLOB, value BLOB, user TEXT, at_ms INTEGER);
"""
_SEE: Final = """
    INSERT INTO ordinals VALUES (?, 0) ON CONFLICT DO UPDATE SET seen = seen + 1 RETURNING seen
"""
_MEET: Final = "SELECT latest_ms FROM users WHERE user = ?"
_NOTE: Final = "INSERT INTO users VALUES (?, ?) ON CONFLICT DO UPDATE SET latest_ms = excluded.latest_ms"
_KEEP: Final = "INSERT INTO records (key, value, user, at_ms) VALUES (?, ?, ?, ?)"
# What has no time is said when it is sent: last.
_IN_ORDER: Final = "SELECT key, value, user, at_ms FROM records ORDER BY at_ms NULLS LAST, number"


class KeptRecord(NamedTuple):
    """A record that is ready to be sent; `user` is `project/user`, and `at_ms` None where the record has no time."""

    key: bytes
    value: bytes
    user: str
    at_ms: int | None


class Scratch:
    """Nothing of it outlives the process, also one that is killed: SQLite unlinks the file as it opens it."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def begin_file(self) -> None:
        """Equal records of another file are the same records: the file is a copy, or holds a part of it."""
        self._database.execute("DELETE FROM ordinals")

    def ordinal(self, first_id: str, /) -> int:
        """How many records of this first id the file had before."""
        ((seen,),) = self._database.execute(_SEE, (bytes.fromhex(first_id.replace("-", "")),)).fetchall()
        return int(seen)

    def meet(self, user: str, at_ms: int | None) -> bool:
        """Count the user; returns whether an earlier call had a later time of the same user."""
        row = self._database.execute(_MEET, (user,)).fetchone()
        latest_ms = None if row is None else row[0]
        if latest_ms is not None and (at_ms is None or at_ms < latest_ms):
            return at_ms is not None
        if row is None or at_ms is not None:
            self._database.execute(_NOTE, (user, at_ms))
        return False

    @property
    def users(self) -> int:
        ((count,),) = self._database.execute("SELECT count(*) FROM users").fetchall()
        return int(count)

    def keep(self, record: KeptRecord) -> None:
        self._database.execute(_KEEP, record)

    def in_order(self) -> Iterator[KeptRecord]:
        """All that was kept, by the time at which it was said; of one time in the order in which it was kept."""
        return (KeptRecord._make(row) for row in self._database.execute(_IN_ORDER))
