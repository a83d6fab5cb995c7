"""A database as Memobase 0.0.42 makes it, less its indices, with rows that a test chooses."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

MADE: Final = datetime(2025, 3, 1, 9, 0, tzinfo=UTC)

_COMMON: Final = """
    id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()"""
_OF_USER: Final = f"""{_COMMON},
    user_id uuid NOT NULL,
    project_id varchar(64) NOT NULL,
    PRIMARY KEY (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE ON UPDATE CASCADE"""

DDL: Final = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE TABLE projects (project_id varchar(64) NOT NULL PRIMARY KEY, project_secret varchar(255) NOT NULL, "
    f"profile_config text, status varchar(16) NOT NULL, {_COMMON})",
    f"CREATE TABLE users ({_COMMON}, additional_fields jsonb, "
    "project_id varchar(64) NOT NULL REFERENCES projects (project_id) ON DELETE CASCADE ON UPDATE CASCADE, "
    "PRIMARY KEY (id, project_id))",
    f"CREATE TABLE general_blobs ({_OF_USER}, blob_type varchar(16) NOT NULL, blob_data jsonb NOT NULL, "
    "additional_fields jsonb)",
    f"CREATE TABLE buffer_zones ({_OF_USER}, blob_type varchar(16) NOT NULL, token_size integer NOT NULL, "
    "blob_id uuid NOT NULL, status varchar(16) NOT NULL, FOREIGN KEY (blob_id, project_id) "
    "REFERENCES general_blobs (id, project_id) ON DELETE CASCADE ON UPDATE CASCADE)",
    f"CREATE TABLE user_profiles ({_OF_USER}, content text NOT NULL, attributes jsonb)",
    f"CREATE TABLE user_events ({_OF_USER}, event_data jsonb NOT NULL, embedding vector(4))",
    f"CREATE TABLE user_event_gists ({_OF_USER}, gist_data jsonb NOT NULL, event_id uuid NOT NULL, "
    "embedding vector(4), FOREIGN KEY (event_id, project_id) "
    "REFERENCES user_events (id, project_id) ON DELETE CASCADE ON UPDATE CASCADE)",
    f"CREATE TABLE user_statuses ({_OF_USER}, type varchar(32) NOT NULL, attributes jsonb NOT NULL)",
)


class MemobaseDatabase:
    """Writes rows as its server does; each call is a day later than the one before."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._day = 0

    async def make(self) -> None:
        """The tables, and the one project that there is at first."""
        for statement in DDL:
            await self._connection.execute(statement)
        await self.project("__root__")

    async def project(self, project_id: str) -> None:
        await self._add("projects", project_id=project_id, project_secret="secret", status="active")

    async def user(self, project_id: str = "__root__", user_id: UUID | None = None) -> "MemobaseUser":
        """A user with fields."""
        identifier = user_id or uuid4()
        await self._add("users", identifier, project_id=project_id, additional_fields={"plan": "pro"})
        return MemobaseUser(self, identifier, project_id)

    async def _add(self, table: str, identifier: UUID | None = None, **values: Any) -> UUID:
        identifier = identifier or uuid4()
        at = MADE + timedelta(days=self._day)
        self._day += 1
        row = {"id": identifier, "created_at": at, "updated_at": at}
        row |= {key: json.dumps(item) if isinstance(item, dict) else item for key, item in values.items()}
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self._connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
        return identifier


class MemobaseUser:
    """Writes what Memobase has of one user, and returns the rows' ids."""

    def __init__(self, database: MemobaseDatabase, identifier: UUID, project_id: str) -> None:
        self._database = database
        self._project_id = project_id
        self.id = identifier

    async def profile(self, topic: str, sub_topic: str, content: str) -> UUID:
        return await self._add("user_profiles", content=content, attributes={"topic": topic, "sub_topic": sub_topic})

    async def event(self, *lines: str) -> UUID:
        """With a gist a line, embedded."""
        tip = "\n".join(lines)
        data = {"profile_delta": [], "event_tip": tip, "event_tags": [{"tag": "mood", "value": "glad"}]}
        event_id = await self._add("user_events", event_data=data)
        for line in lines:
            await self._add("user_event_gists", gist_data={"content": line}, event_id=event_id)
        return event_id

    async def blob(self, text: str, status: str) -> UUID:
        """A chat of one message, and its place in the buffer."""
        data = {"messages": [{"role": "user", "content": text, "alias": None, "created_at": None}]}
        blob_id = await self._add("general_blobs", blob_type="chat", blob_data=data)
        await self._add("buffer_zones", blob_type="chat", token_size=5, blob_id=blob_id, status=status)
        return blob_id

    async def _add(self, table: str, **values: Any) -> UUID:
        return await self._database._add(table, user_id=self.id, project_id=self._project_id, **values)
