"""Memobase's SDK against a running system: what a user says."""

import uuid

import pytest
from memobase import ChatBlob
from memobase.core.blob import (
    BlobType,
    CodeBlob,
    DocBlob,
    ImageBlob,
    OpenAICompatibleMessage,
    SummaryBlob,
    TranscriptBlob,
    TranscriptStamp,
)
from memobase.error import ServerError

from tests.support.memobase_sdk import SAYS, Cases, Kind, Sdk, chat, sdk_of, slots, until
from tests.support.running_gateway import RunningSystem

CASES = Cases()


@CASES.of("User.insert")
async def insert(sdk: Sdk) -> None:
    user = await sdk.new_user()
    buffered = await sdk.call(user.insert(chat("I have a cat")))
    assert uuid.UUID(buffered).version in (4, 5)
    assert await sdk.call(user.profile()) == []
    assert await sdk.call(user.insert(chat(SAYS), sync=True)) != buffered
    for blob in (
        SummaryBlob(summary="The user lives in Oslo."),
        DocBlob(content="A letter about Oslo."),
        CodeBlob(content="print(1)", language="python"),
        ImageBlob(url="https://images.example/cat.png"),
        TranscriptBlob(transcripts=[TranscriptStamp(content="Hello", start_timestamp_in_seconds=0.0)]),
    ):
        assert await sdk.call(user.insert(blob))
    assert await sdk.call(user.insert(ChatBlob(messages=[])))
    stranger = await sdk.call(sdk.client.get_user(sdk.user_id(), no_get=True))
    assert await sdk.call(stranger.insert(chat("Whoever sends a message is a user")))


@CASES.of("User.get")
async def get(sdk: Sdk) -> None:
    user = await sdk.new_user()
    message = OpenAICompatibleMessage(role="user", content=SAYS, alias="Ann", created_at="Year 32637")
    blob_id = await sdk.call(user.insert(ChatBlob(messages=[message], fields={"from": "app"})))
    found = await sdk.call(user.get(blob_id))
    assert isinstance(found, ChatBlob)
    assert (found.messages, found.fields) == ([message], {"from": "app"})
    assert found.created_at is not None
    summary = await sdk.call(user.insert(SummaryBlob(summary="The user lives in Oslo.")))
    assert (await sdk.call(user.get(summary))).summary == "The user lives in Oslo."
    doc = await sdk.call(user.insert(DocBlob(content="A letter.")))
    assert (await sdk.call(user.get(doc))).content == "A letter."
    image = await sdk.call(user.insert(ImageBlob(url="https://images.example/cat.png")))
    with pytest.raises(NotImplementedError):
        await sdk.call(user.get(image))
    with pytest.raises(ServerError):
        await sdk.call(user.get(sdk.user_id()))


@CASES.of("User.get_all")
async def get_all(sdk: Sdk) -> None:
    user = await sdk.new_user()
    sent = [await sdk.call(user.insert(chat(f"I have {number} cats"))) for number in range(3)]
    assert await sdk.call(user.get_all(BlobType.chat)) == sent
    assert await sdk.call(user.get_all(BlobType.chat, page=1, page_size=2)) == sent[2:]
    await sdk.call(user.flush(sync=True))
    later = await sdk.call(user.insert(chat("I have no cats")))
    assert await sdk.call(user.get_all(BlobType.chat)) == [*sent, later]
    assert await sdk.call(user.get_all(BlobType.doc)) == []


@CASES.of("User.delete")
async def delete(sdk: Sdk) -> None:
    user = await sdk.new_user()
    kept = await sdk.call(user.insert(chat("I work as a nurse")))
    deleted = await sdk.call(user.insert(chat("I live in Bergen")))
    assert await sdk.call(user.delete(deleted)) is True
    assert await sdk.call(user.delete(deleted)) is True
    with pytest.raises(ServerError):
        await sdk.call(user.get(deleted))
    await sdk.call(user.flush(sync=True))
    assert slots(await sdk.call(user.profile())) == {("work", "title"): "nurse"}
    assert await sdk.call(user.delete(kept)) is True
    assert await sdk.call(user.profile()) == []


@CASES.of("User.flush")
async def flush(sdk: Sdk) -> None:
    user = await sdk.new_user()
    assert await sdk.call(user.flush()) is True
    assert await sdk.call(user.flush(sync=True)) is True
    await sdk.call(user.insert(chat(SAYS)))
    assert await sdk.call(user.flush(BlobType.chat)) is True

    async def extracted() -> bool:
        return len(await sdk.call(user.profile())) == 2

    await until(extracted)
    await sdk.call(user.insert(DocBlob(content="I have a cat.")))
    assert await sdk.call(user.flush(BlobType.doc, sync=True)) is True


@CASES.of("User.buffer")
async def buffer(sdk: Sdk) -> None:
    user = await sdk.new_user()
    blob_id = await sdk.call(user.insert(chat(SAYS)))
    assert await sdk.call(user.buffer(BlobType.chat)) == [blob_id]
    assert await sdk.call(user.buffer(BlobType.chat, status="failed")) == []
    await sdk.call(user.flush(sync=True))
    assert await sdk.call(user.buffer(BlobType.chat, status="idle")) == []
    assert await sdk.call(user.buffer(BlobType.chat, status="processing")) == []
    assert await sdk.call(user.buffer(BlobType.chat, status="done")) == [blob_id]


@CASES.parametrized()
async def test_a_method_of_both_clients_does_what_it_says(kind: Kind, method: str, system: RunningSystem) -> None:
    # A project for each client, since some methods speak of all users of a project.
    async with sdk_of(kind, system.url, system.token(f"sdk-{kind}")) as sdk:
        await CASES[method](sdk)
