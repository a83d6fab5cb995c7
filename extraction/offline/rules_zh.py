"""Chinese first-person statements: which clauses speak of the user, and which slot they belong to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from extraction.offline.statements import Statement, sentences, shorten

_CLAUSE_ENDS: Final = re.compile(r"[，,；;：:\s]+|(?:而且|并且|但是|不过|所以|因为|然后|还有)(?=我)")
_LEAD_IN: Final = re.compile(
    r"^(?:(?:嗯|哦|啊|呃|对|好|好的|是的|你好|您好|大家好|哈哈|其实|说实话|老实说|另外|最近|现在|目前|那"
    r"|那么|而且|不过|但是|因为|所以|然后)"
    r"(?=.))+(?=我|家)"
)
_SAME_SUBJECT: Final = re.compile(
    r"(?:今年.*岁|\d+岁|住在|来自|(?:平时|最|很|非常|特别|也|真的|一直)*(?:不?喜欢|热爱|爱吃)|讨厌|(?:现在|目前)?在.+(?:工作|上班|读书|上学|做.+|当.+)|是一?[名个位]"
    r"|不吃|不喝|不能[吃喝]|会[说讲弹]|每天|周末"
    r"|是.{2,6}人$"
    r"|有[一两三\d]|养了|家里|毕业于|单身|已婚)"
)
_JOINED_BY: Final = re.compile(r"^(?:但是?|不过|而且|并且|还)")
_TALK: Final = re.compile(
    r"^(?:知道|记|觉得|想问|问|说|看|的问题|的意思|明白|了解|懂|可以|就|再|先|选|要去|想去|想找|想吃|还想"
    r"|想知道|想要|要找|需要|希望|饿|渴|累|没有了|没有问题|没事)"
)
_ADVERBS: Final = (
    r"(?:也|都|真的|真|很|非常|特别|最|一直|现在|目前|平时|经常|常常|还"
    r"|就|比较|挺|其实|最近|刚刚?|已经|从小就?|曾经?|以前|还是|也是)*"
)
_ABOUT_CHAT: Final = re.compile(
    r"^(?:你|您|这|那|它|他|她|什么|哪|怎么|吃完|逛|听你|问题|时间|空|点|一个问题|没)"
    # What is being looked for, and things without a name.
    r"|酒店|宾馆|餐馆|饭店|餐厅|景点|^(?:[吃喝玩去看]的?|东西)$"
)
# Somebody is on the way or wants something: an errand, no relation.
_ERRAND: Final = re.compile(r"^(?:一?[个位])?.{1,4}(?:来|要|想|说|告诉|问|让|在)")
_PRIVATE: Final = re.compile(r"^(?:问题|意思|酒店|订单|电话|手机|需求|要求|身份证|密码|邮箱|地址|账号|银行卡)")
_SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶余潘杜戴夏钟汪田"
    "任姜范方石姚谭廖邹熊金陆郝孔崔康毛邱秦江史顾侯邵孟龙段雷钱汤尹黎乔贺龚"
)

_OCCUPATIONS: Final = re.compile(
    r"(?:老师|教师|医生|护士|律师|工程师|程序员|设计师|会计|厨师|司机|学生|研究生|记者|演员|歌手|作家"
    r"|画家|警察|军人|公务员|经理|老板|销售|"
    r"科学家|研究员|教授|翻译|导游|摄影师|服务员|农民|工人|自由职业者|家庭主妇|全职妈妈|创业者|产品经理"
    r"|博士生?|硕士|编辑|顾问|教练)$"
)
_PETS: Final = re.compile(r"猫|狗|犬|兔|仓鼠|鹦鹉|宠物|乌龟|金鱼|鸟|柯基|金毛|哈士奇|泰迪")
_CHILDREN: Final = re.compile(r"孩子|儿子|女儿|宝宝|小孩|双胞胎")
_FAMILY: Final = re.compile(
    r"爸|妈|父亲|母亲|父母|哥哥?|弟弟?|姐姐?|妹妹?|爷爷|奶奶|外公|外婆|姥姥|姥爷|叔叔|阿姨|家人|亲戚"
)
_PARTNER: Final = re.compile(r"老公|老婆|丈夫|妻子|先生|太太|爱人|女朋友|男朋友|女友|男友|对象|未婚[夫妻]")
_FRIENDS: Final = re.compile(r"朋友|同学|室友|闺蜜|邻居")
_INTERESTS: Final = (
    ("foods", r"吃|菜|火锅|烤|面|饭|甜|辣|水果|海鲜|蛋糕|巧克力|零食|肉|鱼|饺子|粥"),
    ("drinks", r"喝|咖啡|茶|酒|果汁|可乐"),
    ("books", r"书|读|小说|诗|漫画|文学"),
    ("movies", r"电影|影片|纪录片|电视剧|动漫|动画|综艺|追剧"),
    ("music", r"音乐|歌|唱|钢琴|吉他|小提琴|乐队|乐器|演唱会"),
    ("sports", r"足球|篮球|羽毛球|乒乓球|网球|排球|游泳|滑雪|滑冰|运动|比赛|球"),
    ("fitness", r"跑步|健身|瑜伽|马拉松|锻炼"),
    ("outdoors", r"爬山|登山|徒步|露营|钓鱼|骑行|骑车|散步|户外|自然|花|植物"),
    ("travel", r"旅游|旅行|景点|古迹|博物馆|出国"),
    ("arts", r"画|摄影|拍照|书法|跳舞|舞蹈|手工|艺术|戏剧"),
    ("games", r"游戏|象棋|围棋|桥牌|麻将|拼图"),
    ("animals", r"动物|猫|狗|鸟|马"),
    ("technology", r"编程|电脑|代码|科技|手机|机器人"),
    ("learning", r"学习|历史|数学|语言|英语|科学|哲学|天文"),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern that follows 我, and the slot; `{1}` in `memo` is its first group. `happened` makes an event, too."""

    pattern: re.Pattern[str]
    topic: str
    sub_topic: str
    memo: str = "{0}"
    happened: bool = False


def _rule(pattern: str, topic: str, sub_topic: str, memo: str = "{0}", happened: bool = False) -> _Rule:
    return _Rule(re.compile(_ADVERBS + pattern + r"(?:了|呢|啊|呀|哦|吧|的)?$"), topic, sub_topic, memo, happened)


_WITH: Final = (
    r"(?:[和跟](?:我的?)?(?:家人|父母|爸妈|先生|太太|老公|老婆|丈夫|妻子|孩子|男朋友|女朋友|室友|朋友)(?:一起)?)?"
)
_PLACE: Final = r"([\u4e00-\u9fffA-Za-z·]{2,12}?)"
_RULES: Final = (
    _rule(r"(?:的名字)?(?:叫|叫做|的名字是)([\u4e00-\u9fffA-Za-z·]{1,12}?)", "basic_info", "name", "{1}"),
    _rule(r"今年?(?:已经|刚|快)?(\d{1,3}|[一二三四五六七八九十]{1,4})岁", "basic_info", "age", "{1}岁"),
    _rule(r"(\d{1,3})岁", "basic_info", "age", "{1}岁"),
    _rule(r"(?:的生日是)(.{2,12}?)", "basic_info", "birth_date", "{1}"),
    _rule(
        rf"(?:刚|刚刚|上个?月|今年|去年|前年|上周|最近)?(?:搬到|搬去|搬来|移居到?)了?{_PLACE}(?:住|工作"
        rf"|生活)?",
        "contact_info",
        "city",
        "{1}",
        True,
    ),
    _rule(
        rf"{_WITH}(?:家)?(?:住在?|定居在|生活在|居住在)(?!.*(?:酒店|宾馆|民宿)){_PLACE}", "contact_info", "city", "{1}"
    ),
    _rule(rf"(?:的)?家在{_PLACE}", "contact_info", "city", "{1}"),
    _rule(rf"是([{_SURNAMES}][\u4e00-\u9fff]{{1,2}}(?<![生座人员师者控族手粉]))", "basic_info", "name", "{1}"),
    _rule(r"是?(\d{4}年(?:\d{1,2}月)?(?:\d{1,2}[日号])?)(?:出)?生", "basic_info", "birth_date", "{1}"),
    _rule(
        rf"(?:来自|出生在|出生于|从小在|老家在|老家是|的老家是|的老家在|的家乡是){_PLACE}(?:长大)?",
        "basic_info",
        "hometown",
        "{1}",
    ),
    _rule(r"是([\u4e00-\u9fff]{2,6}人)", "basic_info", "hometown", "{1}"),
    _rule(r"(?:在|就职于|任职于)(.{2,20}?)(?:工作|上班|任职)", "work", "company", "{1}"),
    _rule(r"(?:在)(.{2,20}?)(?:读书|上学|念书|读大学|学习|读研|上大学)", "education", "school", "在{1}读书"),
    _rule(r"(?:今年)?(?:上|读)?(大[一二三四]|高[一二三]|初[一二三]|研[一二三])", "education", "school", "{1}"),
    _rule(r"在?读(?:研究生|博士|大学|高中|初中|研|博)", "education", "school"),
    _rule(r"在(?:.{2,12}?)(?:做|当)([\u4e00-\u9fff]{2,8})", "work", "title", "{1}"),
    _rule(r"会[说讲](.{2,12}?)", "basic_info", "language_spoken", "{1}"),
    _rule(r"会(?:弹|拉|吹|唱|画|跳|骑|滑|游泳|编程|书法|下[围象]?棋).{0,8}?", "interest", "skills"),
    _rule(r"正?在(?:学|练)(?!校|期)(.{1,10}?)", "interest", "learning"),
    _rule(
        r"(?:每(?:天|周|个?月|年|晚|个?周末)|周末)(?!.*[要想请帮吗?？])(?:.{3,18}?)",
        "lifestyle",
        "habits",
    ),
    _rule(r"(?:毕业于)(.{2,20}?)", "education", "school", "毕业于{1}"),
    _rule(r"(?:学的是|的专业是|主修)(.{2,15}?)(?:专业)?", "education", "major", "{1}"),
    _rule(r"(?:的工作是|的职业是|从事|做的是)(.{2,15}?)(?:工作|行业)?", "work", "title", "{1}"),
    _rule(
        r"(?:换了?(?:一?份|个)?(?:新)?工作|辞职|退休|升职|跳槽|失业|创业|入职.{0,12}?|找到.{0,6}工作)",
        "work",
        "changes",
        "{0}",
        True,
    ),
    _rule(r"(?:结婚|离婚|订婚|分手|怀孕|当爸爸|当妈妈)", "life_event", "marriage", "{0}", True),
    _rule(
        r"(?:毕业|考上了?.{2,15}?|获得了?.{2,15}?|赢了.{2,15}?|买了.{2,15}?|卖了.{2,15}?|生了.{1,8}?)",
        "life_event",
        "changes",
        "{0}",
        True,
    ),
    _rule(r"(?:单身|已婚|未婚)", "demographics", "marital_status"),
    _rule(r"(?:对).{1,10}过敏", "health", "conditions"),
    _rule(r"(?:有|患有|得了)(?:糖尿病|高血压|哮喘|抑郁症|失眠|过敏|.{1,6}病)", "health", "conditions"),
    _rule(r"(?:失眠|近视).{0,6}?", "health", "conditions"),
    _rule(r"(?:吃素|是(?:纯素|素食)(?:主义)?者|不能?[吃喝].{1,8}?)", "health", "diet"),
    _rule(r"(?:讨厌|不喜欢|不爱|受不了|反感|害怕|怕(?!我))(.{1,20}?)", "psychological", "dislikes"),
    _rule(r"(?:梦想|的梦想是|的目标是|想当|想成为|想学)(.{2,20}?)", "psychological", "goals"),
    _rule(
        r"(?:下个?月|下周|明年|今年|年底|暑假|寒假|国庆|春节)(?:我?要|会|打算|准备|计划)(.{2,18}?)",
        "psychological",
        "goals",
    ),
    # Most plans in a chat are errands of the day; these reach further.
    _rule(
        r"(?:打算|计划|准备|想)(?:在?(?:今年|明年|后年|将来|以后|未来|毕业后|退休后|下半年).{1,18}?"
        r"|(?:学|考|出国|留学|创业|结婚|搬|换工作|换个工作|买房|买车|减肥|读研|读博|生孩子|当|成为|移民|定居).{0,16}?)",
        "psychological",
        "goals",
    ),
)
_LIKES: Final = re.compile(
    _ADVERBS + r"(?:喜欢|爱|热爱|喜爱|爱好是?|的爱好是|的兴趣是|擅长|迷上了?|对(?=.+感兴趣))(.{1,25})$"
)
_HAS: Final = re.compile(_ADVERBS + r"(?:有|养了?|家有|家里有|家养了?|家里养了?)(.{1,20}?)(?:了)?$")
_MINE: Final = re.compile(
    r"^的?(.{1,8}?)(?:(?:是|叫|在|有|喜欢|今年|很|已经)(?:.{1,20})|(?:怀孕|去世|退休|毕业|结婚|离婚|出生)了?)$"
)
_OWN_MINE: Final = re.compile(r"^的(.{1,8}?)(?:是|叫|在|有|今年)(.{1,20})$")


def statements(text: str) -> Iterator[Statement]:
    """The statements about the speaker in one message, in order."""
    for sentence in sentences(text):
        speaker = False
        for part in _CLAUSE_ENDS.split(sentence.strip('。！!.~～…"”“ ')):
            clause = _LEAD_IN.sub("", part.strip("。！!.~～ "))
            # 我叫李雷，今年28岁，住在上海: the later clauses have the same subject.
            if speaker and _SAME_SUBJECT.match(same := _JOINED_BY.sub("", clause)):
                clause = "我" + same
            speaker = clause.startswith("我") and not clause.startswith("我们")
            if not speaker or clause.endswith(("吗", "么", "呢")):
                continue
            found = _read(clause[1:])
            if found is not None and found.memo:
                yield replace(found, sentence=sentence)


def _read(rest: str) -> Statement | None:
    if not rest or _TALK.match(rest):
        return None
    for rule in _RULES:
        if match := rule.pattern.match(rest):
            memo = shorten(rule.memo.format(_bare(rest), *match.groups()))
            return Statement(rule.topic, rule.sub_topic, memo, _bare(rest) if rule.happened else None)
    if match := _LIKES.match(rest):
        return (
            None
            if _ABOUT_CHAT.search(match[1])
            else Statement("interest", _interest_of(match[1]), shorten(_bare(rest)), liked=_bare(match[1]))
        )
    if match := _HAS.match(rest):
        return _having(rest, match[1])
    if re.match(_ADVERBS + r"(?:是|当)(?:一[名个位])?", rest):
        return _being(rest)
    return _about_mine(rest)


def _having(rest: str, thing: str) -> Statement | None:
    if _ABOUT_CHAT.search(thing) or _ERRAND.match(thing):
        return None
    for pattern, topic, sub_topic in (
        (_PETS, "lifestyle", "pets"),
        (_CHILDREN, "family", "children"),
        (_PARTNER, "family", "partner"),
        (_FAMILY, "family", "relatives"),
        (_FRIENDS, "family", "friends"),
    ):
        if pattern.search(thing):
            return Statement(topic, sub_topic, shorten(_bare(rest)))
    return (
        Statement("lifestyle", "possessions", shorten(_bare(rest)))
        if re.search(r"[一两二三四五六七八九十几\d]", thing)
        else None
    )


def _being(rest: str) -> Statement | None:
    match = re.match(_ADVERBS + r"(?:是|当)(?:一[名个位])?(.{1,20}?)(?:了|的)?$", rest)
    if (
        match is None
        or _ABOUT_CHAT.search(match[1])
        or match[1].startswith(("说", "想", "来", "要", "去", "第", "在", "比较", "喜欢"))
    ):
        return None
    if _OCCUPATIONS.search(match[1]):
        return Statement("work", "title", shorten(match[1]))
    if match[1] in ("男的", "女的", "男", "女", "男生", "女生"):
        return Statement("basic_info", "gender", match[1][0])
    return Statement("psychological", "personality", shorten(_bare(rest)))


def _about_mine(rest: str) -> Statement | None:
    relative = _MINE.match(rest)
    for pattern, sub_topic in (
        (_PARTNER, "partner"),
        (_CHILDREN, "children"),
        (_FAMILY, "relatives"),
        (_FRIENDS, "friends"),
    ):
        if relative is not None and (head := pattern.match(relative[1])) and len(head[0]) >= len(relative[1]) - 2:
            memo = shorten(re.sub(r"^的|的$|(?<=喜欢)(.+)了$", r"\1", rest))
            return None if re.search(r"[吃喝玩看]$", memo) else Statement("family", sub_topic, memo)
    own = _OWN_MINE.match(rest)
    if own is None or _ABOUT_CHAT.search(own[2]) or _PRIVATE.match(own[1]):
        return None
    if _PETS.search(own[1]):
        return Statement("lifestyle", "pets", shorten(own[0].removeprefix("的")))
    return Statement("lifestyle", "circumstances", shorten(own[0].removeprefix("的")))


def _interest_of(text: str) -> str:
    return next((sub_topic for sub_topic, pattern in _INTERESTS if re.search(pattern, text)), "likes")


def _bare(rest: str) -> str:
    return re.sub(r"^(?:也|都|真的|其实|就|还)+|(?:呢|啊|呀|哦|吧)$", "", rest)
