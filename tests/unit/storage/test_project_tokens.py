"""Tokens as text: which project they claim to open, and whether somebody knows them."""

import pytest

from storage.project_tokens import KnownToken, ProjectAccess, hash_of, id_of, new_token, project_of


@pytest.mark.parametrize(
    "project_id", ["shop", "my-shop-2", "a%2Fb", "日本 語", "sk-x", "-", "ö" * 127, '"; DROP TABLE']
)
def test_a_token_names_its_project_in_ascii_and_two_are_never_the_same(project_id: str) -> None:
    token = new_token(project_id)
    assert all("!" <= character <= "~" for character in token)
    assert project_of(token) == project_id
    assert new_token(project_id) != token


@pytest.mark.parametrize(
    "token",
    ["", "sk-", "sk-shop", "sk--0123456789", "sk-shop-", "sk-shop-xyzxyzxyz", "SK-shop-0123456789", "secret",
     "sk-sh op-0123456789", "sk-a%00b-0123456789", "sk-%ff-0123456789", "sk-shöp-0123456789", "sk-a/b-0123456789",
     "sk-" + "a" * 766 + "-0123456789", "sk-shop-0123456789\n", "sk-shop-" + "0" * 129],
)  # fmt: skip
def test_what_no_project_ever_got_is_not_looked_up(token: str) -> None:
    assert project_of(token) is None


def test_a_token_is_known_by_the_whole_of_it() -> None:
    mine, revoked = new_token("shop"), new_token("shop")
    tokens = (KnownToken(id_of(mine), hash_of(mine), False), KnownToken(id_of(revoked), hash_of(revoked), True))
    access = ProjectAccess(tokens, is_suspended=False)
    assert access.find(mine) == tokens[0]
    assert access.find(revoked) == tokens[1]
    assert access.find(mine[:-1]) is None
    assert access.find(mine + "0") is None
    assert access.find(mine.replace("sk-shop", "sk-blog")) is None
