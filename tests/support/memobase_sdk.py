"""Memobase's own SDK as tests drive it: both of its clients by the same cases, every public method of each."""

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import pytest
from memobase import AsyncMemoBaseClient, ChatBlob, MemoBaseClient
from memobase.core.async_entry import AsyncUser
from memobase.core.blob import OpenAICompatibleMessage
from memobase.core.entry import User
from memobase.core.user import UserProfile

Kind = Literal["sync", "async"]
CLIENTS: Final[dict[Kind, tuple[type, type]]] = {
    "sync": (MemoBaseClient, User),
    "async": (AsyncMemoBaseClient, AsyncUser),
}
DEADLINE_S: Final = 60.0
SAYS: Final = "I live in Bergen and I work as a nurse"
Answer = TypeVar("Answer")


@dataclass
class Sdk:
    """One client of a project; a call of the asynchronous one is awaited, and that is all the difference."""

    kind: Kind
    client: Any
    url: str
    token: str

    async def call(self, answer: Awaitable[Answer] | Answer) -> Answer:
        if inspect.isawaitable(answer):
            return await answer
        return answer

    def user_id(self) -> str:
        return str(uuid.uuid4())

    async def new_user(self, **data: Any) -> Any:
        """A user of this test's alone."""
        user_id = await self.call(self.client.add_user(data=data or None))
        return await self.call(self.client.get_user(user_id))

    async def told(self, *says: str) -> Any:
        """A user who has said this, after it has become memory."""
        user = await self.new_user()
        await self.call(user.insert(chat(*(says or (SAYS,)))))
        assert await self.call(user.flush(sync=True)) is True
        return user


Case = Callable[[Sdk], Awaitable[None]]


class Cases(dict[str, Case]):
    """What is expected of each method; of `User`, `insert` is `User.insert`, and so it is of `AsyncUser`."""

    def of(self, name: str) -> Callable[[Case], Case]:
        def add(case: Case) -> Case:
            self[name] = case
            return case

        return add

    def parametrized(self) -> pytest.MarkDecorator:
        """One test for each method and each client that has it."""
        return pytest.mark.parametrize(
            ("kind", "method"),
            [
                (kind, method)
                for kind, classes in CLIENTS.items()
                for method in public_methods(*classes)
                if method in self
            ],
        )


@asynccontextmanager
async def sdk_of(kind: Kind, url: str, token: str) -> AsyncIterator[Sdk]:
    if kind == "sync":
        client = MemoBaseClient(project_url=url, api_key=token)
        # It has no way of its own to let go.
        with client.client:
            yield Sdk(kind, client, url, token)
        return
    async with AsyncMemoBaseClient(project_url=url, api_key=token) as client:
        yield Sdk(kind, client, url, token)


def public_methods(*classes: type) -> list[str]:
    """What somebody may call, found in the package."""
    return [
        f"{of.__name__.removeprefix('Async')}.{name}"
        for of in classes
        for name, member in inspect.getmembers(of, inspect.isfunction)
        if not name.startswith("_")
    ]


def chat(*says: str) -> ChatBlob:
    return ChatBlob(messages=[OpenAICompatibleMessage(role="user", content=each) for each in says])


def slots(entries: list[UserProfile]) -> dict[tuple[str, str], str]:
    return {(entry.topic, entry.sub_topic): entry.content for entry in entries}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():
            await asyncio.sleep(0.05)
