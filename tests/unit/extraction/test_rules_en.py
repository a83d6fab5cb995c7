"""English statements become facts, and what is no statement about the user does not."""

import pytest

from extraction.offline.extract import extract_by_rules
from extraction.offline.statements import MAX_MEMO_CHARACTERS
from tests.unit.extraction.builders import at, memos, said


@pytest.mark.parametrize(
    ("text", "slot", "memo"),
    [
        ("My name is Ann Lee.", "basic_info/name", "Ann Lee"),
        ("I'm 34 years old.", "basic_info/age", "34 years old"),
        ("I am in my early thirties.", "basic_info/age", "in the early thirties"),
        ("I grew up in Wales.", "basic_info/hometown", "grew up in Wales"),
        ("I live in Oslo.", "contact_info/city", "Oslo"),
        ("I work as a nurse.", "work/title", "nurse"),
        ("I'm a software engineer.", "work/title", "software engineer"),
        ("I work for Acme Corp.", "work/company", "Acme Corp"),
        ("I'm married.", "demographics/marital_status", "married"),
        ("I have two dogs.", "lifestyle/pets", "has two dogs"),
        ("Oh nice, I've got three kids!", "family/children", "has three kids"),
        ("My sister is a pole dancer.", "family/relatives", "sister is a pole dancer"),
        ("My favorite color is red.", "interest/colors", "favorite color is red"),
        ("I really love hiking in the woods.", "interest/outdoors", "loves hiking in the woods"),
        ("I also play the guitar.", "interest/music", "plays the guitar"),
        ("I hate spiders.", "psychological/dislikes", "hates spiders"),
        ("I don't like running.", "psychological/dislikes", "doesn't like running"),
        ("I'm allergic to peanuts.", "health/conditions", "is allergic to peanuts"),
        ("I am a vegetarian.", "health/diet", "is a vegetarian"),
        ("I used to fish with my dad.", "life_event/past", "used to fish with my dad"),
        ("I want to be a pilot.", "psychological/goals", "wants to be a pilot"),
        ("I’m studying physics at college.", "education/school", "is studying physics at college"),
        ("I love Radiohead!", "interest/likes", "loves Radiohead"),
        ("Now I live in Berlin.", "contact_info/city", "Berlin"),
        ("I'm living in Canada now.", "contact_info/city", "Canada"),
        ("Hi, I'm George, what's your name?", "basic_info/name", "George"),
        ("I turned 40 yesterday!", "basic_info/age", "40 years old"),
        ("I'm in the army.", "work/job", "is in the army"),
        ("I work at Spotify as a developer.", "work/company", "Spotify"),
        ("I have one older sister.", "family/relatives", "has one older sister"),
        ("We're getting married in June, I'm getting married!", "life_event/marriage", "is getting married"),
        ("Horror movies are my favorite!", "interest/movies", "favorites are horror movies"),
        ("Gymnastics is my favorite sport.", "interest/sports", "favorite sport is gymnastics"),
        ("I'm a big fan of J. Cole.", "interest/likes", "is a big fan of J. Cole"),
        ("I see my therapist every week.", "lifestyle/habits", "sees my therapist every week"),
        ("I'm vegan now.", "health/diet", "is vegan"),
        ("I'm now a teacher.", "work/title", "teacher"),
        ("My favourite food is lasagne, so that was dinner.", "interest/foods", "favorite food is lasagne"),
        ("I can't eat gluten.", "health/diet", "can't eat gluten"),
        ("I usually take my dog on walks, but he's at the vet.", "interest/animals", "usually takes my dog on walks"),
        ('My favorite song is "Yesterday".', "interest/music", 'favorite song is "Yesterday"'),
    ],
)
def test_a_first_person_statement_becomes_a_fact_in_its_slot(text: str, slot: str, memo: str) -> None:
    assert memo in memos(extract_by_rules(said(text)).facts).get(slot, [])


@pytest.mark.parametrize(
    "text",
    [
        "Do you have any pets?",
        "Hi, I'm good, thanks!",
        "I'm sorry to hear that.",
        "I'm glad you like it.",
        "I would love to hear more about it.",
        "I like it.",
        "I love the characters.",
        "I have no idea.",
        "I've never heard of that game.",
        "I think so too.",
        "That sounds like fun!",
        "You should try it.",
        "Hi, I'm [user1_name].",
        "I have a few.",
        "I'm new to the city.",
        "I can fly.",
        "I love the weather.",
        'I love "Toxic".',
        "I like to do a lot of the same things.",
        "I love learning new things.",
        "I've been playing it for years.",
        "I've been to a few countries.",
        "I was a kid.",
        "I don't have as much time for it anymore.",
        "",
        "...",
    ],
)
def test_questions_small_talk_and_what_points_at_the_chat_give_no_fact(text: str) -> None:
    assert extract_by_rules(said(text)).facts == ()


@pytest.mark.parametrize(
    ("heard", "answer", "expected"),
    [
        ("I love hiking in the woods.", "Me too! I love hiking.", []),
        ("I love hiking in the woods.", "I love swimming.", ["loves swimming"]),
        ("I love hiking in the woods.", "I love hiking in the Alps.", ["loves hiking in the Alps"]),
        ("Do you like hiking?", "Yes, I love hiking.", ["loves hiking"]),
        ("Oslo has good woods for hiking.", "I love hiking.", ["loves hiking"]),
        ("I have a dog.", "I have a dog too.", ["has a dog"]),
        ("我也很喜欢爬山。", "我喜欢爬山。", []),
        ("你喜欢爬山吗？", "我喜欢爬山。", ["喜欢爬山"]),
    ],
)
def test_a_taste_that_only_agrees_with_the_other_speaker_is_left(heard: str, answer: str, expected: list[str]) -> None:
    told, replied = said(heard, answer)
    facts = extract_by_rules([told._replace(role="assistant"), replied]).facts
    assert [found.memo for found in facts] == expected


def test_a_move_is_a_city_an_event_and_a_line_of_life() -> None:
    extraction = extract_by_rules(said("Guess what: I moved to Oslo."))
    assert memos(extraction.facts) == {"life_event/relocation": ["moved to Oslo"], "contact_info/city": ["Oslo"]}
    assert [gist.text for gist in extraction.gists] == ["moved to Oslo"]


def test_two_statements_of_a_sentence_are_two_facts() -> None:
    facts = memos(extract_by_rules(said("I have two dogs and I love hiking.")).facts)
    assert facts == {"lifestyle/pets": ["has two dogs"], "interest/outdoors": ["loves hiking"]}


def test_facts_keep_the_message_and_the_time_that_they_come_from() -> None:
    found = extract_by_rules([*said("Hello!", "I live in Oslo.", day=3)]).facts[0]
    assert (found.message_ids, found.occurred_at) == (("b3/1",), at(3))


@pytest.mark.parametrize("role", ["assistant", "system", "tool", "code"])
def test_what_others_than_the_user_say_gives_no_fact(role: str) -> None:
    assert extract_by_rules(said("I live in Oslo.", role=role)).facts == ()


@pytest.mark.parametrize("role", ["user", "summary", "transcript", "doc"])
def test_what_the_user_says_counts_in_every_blob_type(role: str) -> None:
    assert len(extract_by_rules(said("I live in Oslo.", role=role)).facts) == 1


def test_of_a_transcript_only_the_user_counts_where_one_is_named() -> None:
    lines = [
        line._replace(alias=speaker)
        for line, speaker in zip(
            said("I live in Oslo.", "I live in Rome.", role="transcript"), ("user", "Bob"), strict=True
        )
    ]
    assert [found.memo for found in extract_by_rules(lines).facts] == ["Oslo"]


def test_a_memo_is_short_and_holds_no_separator() -> None:
    long = "I like cooking " + "very spicy food " * 20 + "; really."
    assert all(len(f.memo) <= MAX_MEMO_CHARACTERS and ";" not in f.memo for f in extract_by_rules(said(long)).facts)


def test_the_same_conversation_gives_the_same_extraction() -> None:
    conversation = said("I moved to Oslo.", "I have two dogs and a cat.", "My name is Ann.")
    assert extract_by_rules(conversation) == extract_by_rules(conversation)


def test_the_summary_is_one_line_of_the_facts() -> None:
    assert extract_by_rules(said("I have two dogs.\nI love hiking.")).summary == "has two dogs; loves hiking"
