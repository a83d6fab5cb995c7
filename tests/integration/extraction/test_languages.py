"""A Chinese conversation gives Chinese facts, whoever extracts."""

import re

from extraction import prompting
from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.memory import MemoryUpdate, Profile
from schemas.profile_schema import ProfilePolicy
from schemas.settings import Settings
from tests.integration.extraction.conftest import Make
from tests.support.scripted_openai import Call, ScriptedOpenAI
from tests.unit.extraction.builders import applied, contents, profile, said, slot

POLICY = ProfilePolicy()
CONVERSATION = said("我住在上海，平时很喜欢吃火锅。", "我搬到杭州了，公司在西湖边，每天走路去上班。")
HELD = profile(slot("喜欢吃面", "foods", day=-9), slot("北京", "city", topic="contact_info", day=-9))
CHINESE = re.compile(r"[\u4e00-\u9fff]")


async def update_of(extractor: Extractor, held: Profile) -> MemoryUpdate:
    return await extractor.merge(await extractor.extract(CONVERSATION, held, POLICY), held, POLICY)


def speaking_chinese(call: Call) -> dict[str, object] | None:
    """What a model answers that keeps to the language of what it reads."""
    if call.kind == "extract":
        facts = [("contact_info", "city", "上海", 0), ("interest", "foods", "喜欢吃火锅", 0)]
        return {
            "facts": [
                {"topic": topic, "sub_topic": name, "memo": memo, "message_indices": [index]}
                for topic, name, memo, index in facts
            ],
            "events": [{"gist": "搬到杭州", "tags": [], "message_indices": [1], "occurred_at": None}],
            "summary": "住在上海，搬到杭州",
        }
    return None


async def test_the_rules_give_chinese_facts_events_and_summary() -> None:
    extractor = create_extractor(Settings())
    update = await update_of(extractor, HELD)
    assert contents(applied(HELD, update)) == {
        "contact_info/city": "杭州",
        "interest/foods": "喜欢吃面; 平时很喜欢吃火锅",
    }
    assert [gist.text for gist in update.extraction.gists] == ["搬到杭州了"]
    assert CHINESE.search(update.extraction.summary or "")


async def test_an_endpoint_is_asked_in_chinese_and_its_chinese_facts_are_kept(make: Make) -> None:
    async with ScriptedOpenAI(answer=speaking_chinese) as server:
        update = await update_of(make(server), HELD)
    asked = {call.kind: call.prompt for call in server.calls}
    role = prompting.load("zh", "role").strip()
    assert role in asked["extract"]
    assert role in asked["merge"]
    held = contents(applied(HELD, update))
    assert held["contact_info/city"] == "上海"
    assert "喜欢吃火锅" in held["interest/foods"]
    assert [gist.text for gist in update.extraction.gists] == ["搬到杭州"]
