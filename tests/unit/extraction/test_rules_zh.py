"""Chinese statements become facts, and requests of a chat do not."""

import pytest

from extraction.offline.extract import extract_by_rules
from tests.unit.extraction.builders import memos, said


@pytest.mark.parametrize(
    ("text", "slot", "memo"),
    [
        ("我叫李雷。", "basic_info/name", "李雷"),
        ("我今年28岁。", "basic_info/age", "28岁"),
        ("我住在上海。", "contact_info/city", "上海"),
        ("我上个月搬到了杭州。", "contact_info/city", "杭州"),
        ("我来自四川。", "basic_info/hometown", "四川"),
        ("我在腾讯工作。", "work/company", "腾讯"),
        ("我是一名工程师。", "work/title", "工程师"),
        ("我养了两只猫。", "lifestyle/pets", "养了两只猫"),
        ("我有一个女儿。", "family/children", "有一个女儿"),
        ("我很喜欢爬山。", "interest/outdoors", "很喜欢爬山"),
        ("我讨厌香菜！", "psychological/dislikes", "讨厌香菜"),
        ("我对花生过敏", "health/conditions", "对花生过敏"),
        ("我打算明年学日语。", "psychological/goals", "打算明年学日语"),
        ("我妻子是老师。", "family/partner", "妻子是老师"),
        ("我的生日是5月3日。", "basic_info/birth_date", "5月3日"),
        ("我是王芳。", "basic_info/name", "王芳"),
        ("我是1990年出生的。", "basic_info/birth_date", "1990年"),
        ("我家在成都。", "contact_info/city", "成都"),
        ("我和我先生住在杭州。", "contact_info/city", "杭州"),
        ("我现在在字节跳动做产品经理。", "work/title", "产品经理"),
        ("我会说英语和法语。", "basic_info/language_spoken", "英语和法语"),
        ("我每天早上跑五公里。", "lifestyle/habits", "每天早上跑五公里"),
        ("我不能吃辣。", "health/diet", "不能吃辣"),
        ("我下个月要参加上海马拉松。", "psychological/goals", "下个月要参加上海马拉松"),
        ("我最近在学吉他。", "interest/learning", "最近在学吉他"),
        ("我老婆怀孕了。", "family/partner", "老婆怀孕了"),
    ],
)
def test_a_first_person_statement_becomes_a_fact_in_its_slot(text: str, slot: str, memo: str) -> None:
    assert memos(extract_by_rules(said(text)).facts) == {slot: [memo]}


@pytest.mark.parametrize(
    "text",
    [
        "我想找一个评分4.5分以上的景点。",
        "我知道了，谢谢。",
        "我喜欢这些菜",
        "你喜欢什么？",
        "我们去哪里吃饭？",
        "好的，我记下了。",
        "我还是比较喜欢城市便捷酒店北京前门店。",
        "我有个亲戚来北京。",
        "我对象好喜欢吃的。",
        "我的手机号是13800000000。",
        "我周末想去看电影。",
    ],
)
def test_requests_and_small_talk_give_no_fact(text: str) -> None:
    assert extract_by_rules(said(text)).facts == ()


def test_later_clauses_of_a_sentence_have_the_same_subject() -> None:
    facts = memos(extract_by_rules(said("我叫李雷，今年28岁，住在上海。")).facts)
    assert facts == {"basic_info/name": ["李雷"], "basic_info/age": ["28岁"], "contact_info/city": ["上海"]}


def test_a_move_is_an_event() -> None:
    assert [gist.text for gist in extract_by_rules(said("我搬到了上海。")).gists] == ["搬到了上海"]
