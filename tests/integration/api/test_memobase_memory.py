"""Memobase's SDK against a running system: what is remembered of a user."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from memobase.core.user import UserEventData, UserEventGistData, UserProfile
from memobase.error import ServerError

from tests.support.memobase_sdk import Cases, Kind, Sdk, chat, sdk_of, slots
from tests.support.running_gateway import RunningSystem

CASES = Cases()


@CASES.of("User.add_profile")
async def add_profile(sdk: Sdk) -> None:
    user = await sdk.new_user()
    profile_id = await sdk.call(user.add_profile("Bergen", "contact_info", "city"))
    (entry,) = await sdk.call(user.profile())
    assert (str(entry.id), entry.content, entry.topic, entry.sub_topic) == (
        profile_id,
        "Bergen",
        "contact_info",
        "city",
    )


@CASES.of("User.update_profile")
async def update_profile(sdk: Sdk) -> None:
    user = await sdk.told()
    (city,) = [entry for entry in await sdk.call(user.profile()) if entry.sub_topic == "city"]
    assert await sdk.call(user.update_profile(str(city.id), "Oslo", "contact_info", "home")) is True
    entries = {entry.id: entry for entry in await sdk.call(user.profile())}
    assert (entries[city.id].content, entries[city.id].sub_topic) == ("Oslo", "home")
    assert entries[city.id].updated_at > city.updated_at


@CASES.of("User.delete_profile")
async def delete_profile(sdk: Sdk) -> None:
    user = await sdk.told()
    (city,) = [entry for entry in await sdk.call(user.profile()) if entry.sub_topic == "city"]
    assert await sdk.call(user.delete_profile(str(city.id))) is True
    assert slots(await sdk.call(user.profile())) == {("work", "title"): "nurse"}
    with pytest.raises(ServerError):
        await sdk.call(user.delete_profile(str(city.id)))


@CASES.of("User.profile")
async def profile(sdk: Sdk) -> None:
    user = await sdk.told()
    entries = await sdk.call(user.profile())
    assert all(isinstance(entry, UserProfile) for entry in entries)
    assert all(isinstance(entry.created_at, datetime) and isinstance(entry.updated_at, datetime) for entry in entries)
    assert slots(entries) == {("contact_info", "city"): "Bergen", ("work", "title"): "nurse"}
    assert {entry.describe for entry in entries} == {"contact_info: city - Bergen", "work: title - nurse"}

    async def topics(**options: Any) -> list[str]:
        return [entry.topic for entry in await sdk.call(user.profile(**options))]

    assert await topics(prefer_topics=["work"]) == ["work", "contact_info"]
    assert await topics(prefer_topics=["contact_info", "work"]) == ["contact_info", "work"]
    assert await topics(only_topics=["work", "nothing"]) == ["work"]
    assert await topics(topic_limits={"work": 0}) == ["contact_info"]
    assert len(await topics(max_subtopic_size=1)) == 2
    assert await topics(max_token_size=1) == []
    assert len(await topics(chats=[{"role": "user", "content": "Where do I live?"}])) == 2
    with pytest.raises(ServerError, match="percent-encoded"):
        # The client does not encode it, so that the half of it arrives.
        await topics(chats=[{"role": "user", "content": "Where & why?"}])
    as_json = await sdk.call(user.profile(need_json=True))
    assert as_json["work"]["title"]["content"] == "nurse"


@CASES.of("User.event")
async def event(sdk: Sdk) -> None:
    user = await sdk.told()
    await sdk.call(user.insert(chat("I have a cat")))
    await sdk.call(user.flush(sync=True))
    newest, oldest = await sdk.call(user.event())
    assert isinstance(newest, UserEventData)
    assert newest.created_at > oldest.created_at
    assert "Bergen" in oldest.event_data.event_tip
    deltas = {(delta.attributes["topic"], delta.attributes["sub_topic"]) for delta in oldest.event_data.profile_delta}
    assert deltas == {("contact_info", "city"), ("work", "title")}
    assert oldest.similarity is None
    assert await sdk.call(user.event(topk=1, need_summary=True)) == [newest]
    assert await sdk.call(user.event(max_token_size=1)) == []


@CASES.of("User.update_event")
async def update_event(sdk: Sdk) -> None:
    user = await sdk.told()
    (before,) = await sdk.call(user.event())
    changed = {"event_tip": "The user spoke of home.", "event_tags": [{"tag": "mood", "value": "calm"}]}
    assert await sdk.call(user.update_event(str(before.id), changed)) is True
    (after,) = await sdk.call(user.event())
    assert after.event_data.event_tip == "The user spoke of home."
    assert [(tag.tag, tag.value) for tag in after.event_data.event_tags] == [("mood", "calm")]
    assert after.event_data.profile_delta == before.event_data.profile_delta
    with pytest.raises(ServerError):
        await sdk.call(user.update_event(sdk.user_id(), changed))


@CASES.of("User.delete_event")
async def delete_event(sdk: Sdk) -> None:
    user = await sdk.told()
    (found,) = await sdk.call(user.event())
    assert await sdk.call(user.delete_event(str(found.id))) is True
    assert await sdk.call(user.event()) == []
    assert await sdk.call(user.search_event_gist("Bergen", similarity_threshold=-1.0)) == []
    with pytest.raises(ServerError):
        await sdk.call(user.delete_event(str(found.id)))


async def two_events(sdk: Sdk) -> Any:
    user = await sdk.told("I graduated from a cooking school")
    await sdk.call(user.insert(chat("I won a marathon")))
    await sdk.call(user.flush(sync=True))
    return user


@CASES.of("User.search_event")
async def search_event(sdk: Sdk) -> None:
    user = await two_events(sdk)
    found = await sdk.call(user.search_event("won a marathon", topk=2, similarity_threshold=-1.0, time_range_in_days=7))
    assert all(isinstance(each, UserEventData) for each in found)
    assert "marathon" in found[0].event_data.event_tip
    assert found[0].similarity > found[1].similarity
    assert len(await sdk.call(user.search_event("won a marathon", topk=1, similarity_threshold=-1.0))) == 1
    assert await sdk.call(user.search_event("won a marathon", similarity_threshold=1.0)) == []
    usual = await sdk.call(user.search_event("won a marathon"))
    assert "marathon" in usual[0].event_data.event_tip


@CASES.of("User.search_event_gist")
async def search_event_gist(sdk: Sdk) -> None:
    user = await two_events(sdk)
    found = await sdk.call(
        user.search_event_gist("won a marathon", topk=5, similarity_threshold=-1.0, time_range_in_days=7)
    )
    assert all(isinstance(each, UserEventGistData) for each in found)
    assert "won a marathon" in found[0].gist_data.content
    similarities = [each.similarity for each in found]
    assert similarities == sorted(similarities, reverse=True)
    assert await sdk.call(user.search_event_gist("won a marathon", similarity_threshold=1.0)) == []


@CASES.of("User.search_event_by_tags")
async def search_event_by_tags(sdk: Sdk) -> None:
    user = await two_events(sdk)
    newest, oldest = await sdk.call(user.event())
    tags = {"event_tags": [{"tag": "mood", "value": 'a "calm" one'}, {"tag": "place", "value": "home"}]}
    await sdk.call(user.update_event(str(newest.id), tags))
    await sdk.call(user.update_event(str(oldest.id), {"event_tags": [{"tag": "mood", "value": "busy"}]}))

    async def ids(**wanted: Any) -> list[uuid.UUID]:
        return [each.id for each in await sdk.call(user.search_event_by_tags(**wanted))]

    assert await ids(tags=["mood"]) == [newest.id, oldest.id]
    assert await ids(tags=["mood", "place"]) == [newest.id]
    assert await ids(tag_values={"mood": "busy"}) == [oldest.id]
    assert await ids(tag_values={"mood": 'a "calm" one'}) == [newest.id]
    assert await ids(tags=["place"], tag_values={"mood": "busy"}) == []
    assert await ids(tags=["mood"], topk=1) == [newest.id]


@CASES.of("User.context")
async def context(sdk: Sdk) -> None:
    user = await two_events(sdk)
    await sdk.call(user.add_profile("Bergen", "contact_info", "city"))
    whole = await sdk.call(user.context())
    day = datetime.now(UTC).strftime("%Y/%m/%d")
    assert (
        whole
        == f"""---
# Memory
Unless the user has relevant queries, do not actively mention those memories in the conversation.
## User Current Profile:
- contact_info::city: Bergen
- life_event::achievements: graduated from a cooking school; won a marathon

## Past Events:
- won a marathon [mention {day}] // event
- graduated from a cooking school [mention {day}] // event
---
"""
    )
    packed = await sdk.call(
        user.context(
            max_token_size=500,
            prefer_topics=["life_event", "contact_info"],
            only_topics=["contact_info"],
            max_subtopic_size=3,
            topic_limits={"contact_info": 2},
            profile_event_ratio=0.8,
            require_event_summary=True,
            time_range_in_days=7,
            full_profile_and_only_search_event=True,
            fill_window_with_events=True,
            customize_context_prompt="Known & used:\n{profile_section}\nLately:\n{event_section}",
        )
    )
    assert packed.startswith("Known & used:\n- contact_info::city: Bergen\nLately:\n- won a marathon")
    asked = await sdk.call(
        user.context(
            chats=[{"role": "user", "content": "won a marathon"}],
            event_similarity_threshold=0.8,
            full_profile_and_only_search_event=False,
        )
    )
    assert asked.count("[mention") == 1
    nobody = await sdk.call(sdk.client.get_user(sdk.user_id(), no_get=True))
    assert (await sdk.call(nobody.context())).startswith("---\n# Memory")


@CASES.parametrized()
async def test_a_method_of_both_clients_does_what_it_says(kind: Kind, method: str, system: RunningSystem) -> None:
    # A project for each client, since some methods speak of all users of a project.
    async with sdk_of(kind, system.url, system.token(f"sdk-{kind}")) as sdk:
        await CASES[method](sdk)
