"""Who is let in: root, holders of tokens that hold, and nobody else; with Postgres there, slow, and away."""

import asyncio
from collections.abc import Callable

import pytest

from api.access import GRACE_S, KEEP_S, MAX_LOOKS, MAX_STRANGERS, Access, Gatekeeper, ProjectBook
from api.errors import ApiError
from schemas.errors import RetryLater
from storage.project_tokens import KnownToken, ProjectAccess, hash_of, id_of

ROOT = "a root token"
# Always the same, for they stand in the names of tests, which all processes of a run must agree on.
SHOP, REVOKED, BLOG = f"sk-shop-{'1f' * 24}", f"sk-shop-{'2e' * 24}", f"sk-blog-{'3d' * 24}"


def known(token: str, *, is_revoked: bool = False) -> KnownToken:
    return KnownToken(id_of(token), hash_of(token), is_revoked)


class Stored:
    """What stands in Postgres, and how it answers."""

    def __init__(self) -> None:
        self.projects = {
            "shop": ProjectAccess((known(SHOP), known(REVOKED, is_revoked=True)), is_suspended=False),
            "blog": ProjectAccess((known(BLOG),), is_suspended=True),
        }
        self.reads: list[str] = []
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.now_s = 0.0

    async def read(self, project_id: str) -> ProjectAccess:
        self.reads.append(project_id)
        found = self.projects.get(project_id, ProjectAccess((), is_suspended=False))
        await self.may_answer.wait()
        if self.is_away:
            raise RetryLater("Postgres, looking up a token: away")
        return found

    def keeper(self, root_token: str | None = ROOT, *, is_open: bool = False) -> Gatekeeper:
        return Gatekeeper(self.read, root_token, is_open=is_open, monotonic=lambda: self.now_s)

    def book(self) -> ProjectBook:
        return ProjectBook(self.read, lambda: self.now_s)


@pytest.fixture
def stored() -> Stored:
    return Stored()


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def refusal(keeper: Gatekeeper, authorization: str | None, wanted_project: str | None = None) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        await keeper.authenticate(authorization, wanted_project)
    return caught.value.errno, caught.value.errmsg


@pytest.mark.parametrize(
    ("token", "header", "access"),
    [
        (ROOT, None, Access("default", is_root=True)),
        (ROOT, "shop", Access("shop", is_root=True)),
        (ROOT, "%E6%97%A5", Access("日", is_root=True)),
        (SHOP, None, Access("shop", is_root=False)),
        (SHOP, "shop", Access("shop", is_root=False)),
    ],
)
async def test_a_token_opens_its_project_and_the_root_token_any(
    stored: Stored, token: str, header: str | None, access: Access
) -> None:
    assert await stored.keeper().authenticate(f"Bearer {token}", header) == access


@pytest.mark.parametrize(
    ("authorization", "header", "errno", "told"),
    [
        (None, None, 401, "a token is missing"),
        ("", None, 401, "a token is missing"),
        (f"bearer {SHOP}", None, 401, "a token is missing"),
        ("Basic c2hvcDpz", None, 401, "a token is missing"),
        ("Bearer ", None, 401, "the token is not known"),
        ("Bearer secret", None, 401, "the token is not known"),
        ("Bearer None", None, 401, "the token is not known"),
        ("Bearer sk-nowhere-0123456789abcdef", None, 401, "the token is not known"),
        (f"Bearer {SHOP[:-1]}", None, 401, "the token is not known"),
        (f"Bearer {SHOP}0", None, 401, "the token is not known"),
        (f"Bearer {SHOP.replace('shop', 'blog')}", None, 401, "the token is not known"),
        ("Bearer \udcff\udcfe", None, 401, "the token is not known"),
        (f"Bearer {REVOKED}", None, 401, "the token was revoked"),
        (f"Bearer {BLOG}", None, 401, "403: the project is suspended"),
        (f"Bearer {SHOP}", "blog", 403, "only the root token may choose a project"),
        (f"Bearer {ROOT}", "a/b", 400, "X-Memostream-Project"),
        (f"Bearer {ROOT}", "a%2Fb", 400, "X-Memostream-Project"),
        (f"Bearer {ROOT}", "", 400, "X-Memostream-Project"),
        (f"Bearer {ROOT}", "æ\x97¥", 400, "X-Memostream-Project"),
        (f"Bearer {ROOT}", "%ff", 400, "X-Memostream-Project"),
        (f"Bearer {ROOT}", "a%00b", 400, "X-Memostream-Project"),
    ],
)
async def test_whoever_is_not_let_in_is_told_why_without_his_token(
    stored: Stored, authorization: str | None, header: str | None, errno: int, told: str
) -> None:
    number, text = await refusal(stored.keeper(), authorization, header)
    assert (number, told in text) == (errno, True)
    assert "0123456789" not in text
    assert SHOP[-20:] not in text


async def test_without_a_root_token_nobody_is_root(stored: Stored) -> None:
    for token in ("", "None", "root"):
        assert (await refusal(stored.keeper(None), f"Bearer {token}"))[0] == 401


async def test_an_open_gateway_asks_for_nothing_and_reads_nothing(stored: Stored) -> None:
    keeper = stored.keeper(None, is_open=True)
    assert await keeper.authenticate(None, None) == Access("default", is_root=True)
    assert await keeper.authenticate("Bearer anything", "shop") == Access("shop", is_root=True)
    assert stored.reads == []


async def test_a_project_is_read_once_and_again_when_it_may_have_changed(stored: Stored) -> None:
    book = stored.book()
    for _ in range(3):
        await book.access_to("shop")
    assert stored.reads == ["shop"]

    book.forget("blog")
    await book.access_to("shop")
    assert stored.reads == ["shop"]

    stored.projects["shop"] = ProjectAccess((), is_suspended=False)
    book.forget("shop")
    assert (await book.access_to("shop")).tokens == ()

    stored.projects["shop"] = ProjectAccess((known(SHOP),), is_suspended=False)
    stored.now_s += KEEP_S
    assert (await book.access_to("shop")).tokens
    book.forget_all()
    await book.access_to("shop")
    assert stored.reads == ["shop"] * 4


async def test_many_callers_at_once_cost_one_read(stored: Stored) -> None:
    book = stored.book()
    assert len(set(await asyncio.gather(*(book.access_to("shop") for _ in range(50))))) == 1
    assert stored.reads == ["shop"]


async def test_what_was_read_before_a_revocation_is_not_kept_after_it(stored: Stored) -> None:
    book = stored.book()
    stored.may_answer.clear()
    early = asyncio.create_task(book.access_to("shop"))
    await settled(lambda: stored.reads == ["shop"])

    stored.projects["shop"] = ProjectAccess((known(SHOP, is_revoked=True),), is_suspended=False)
    book.forget("shop")
    late = asyncio.create_task(book.access_to("shop"))
    await settled(lambda: stored.reads == ["shop"] * 2)
    stored.may_answer.set()

    assert (await early).find(SHOP) == known(SHOP)
    assert (await late).find(SHOP) == known(SHOP, is_revoked=True)
    assert (await book.access_to("shop")).find(SHOP) == known(SHOP, is_revoked=True)


async def test_while_postgres_is_away_those_who_were_known_go_on_for_a_while(stored: Stored) -> None:
    keeper = stored.keeper()
    await keeper.authenticate(f"Bearer {SHOP}", None)
    stored.is_away = True
    stored.now_s += GRACE_S - 1
    assert (await keeper.authenticate(f"Bearer {SHOP}", None)).project_id == "shop"
    with pytest.raises(RetryLater):
        await keeper.authenticate(f"Bearer {BLOG}", None)
    assert (await keeper.authenticate(f"Bearer {ROOT}", None)).is_root
    stored.now_s += 2
    with pytest.raises(RetryLater):
        await keeper.authenticate(f"Bearer {SHOP}", None)

    stored.is_away = False
    assert (await keeper.authenticate(f"Bearer {SHOP}", None)).project_id == "shop"


async def test_a_postgres_that_does_not_answer_keeps_nobody_waiting_who_is_known(stored: Stored) -> None:
    book = stored.book()
    await book.access_to("shop")
    stored.may_answer.clear()
    stored.now_s += KEEP_S
    assert (await book.access_to("shop")).find(SHOP) == known(SHOP)
    assert stored.reads == ["shop"] * 2
    stored.may_answer.set()


async def test_strangers_take_few_connections_and_push_nobody_out(stored: Stored) -> None:
    book = stored.book()
    await book.access_to("shop")
    stored.may_answer.clear()
    flood = [asyncio.create_task(book.access_to(f"made up {number}")) for number in range(MAX_STRANGERS + 10)]
    await settled(lambda: len(stored.reads) == 1 + MAX_LOOKS)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(stored.reads) == 1 + MAX_LOOKS
    stored.may_answer.set()
    await asyncio.gather(*flood)
    stored.reads.clear()
    await book.access_to("shop")
    await book.access_to(f"made up {MAX_STRANGERS + 9}")
    assert stored.reads == []
    await book.access_to("made up 0")
    assert stored.reads == ["made up 0"]


async def test_a_caller_who_goes_away_does_not_take_the_answer_from_others(stored: Stored) -> None:
    book = stored.book()
    stored.may_answer.clear()
    leaving, staying = (asyncio.create_task(book.access_to("shop")) for _ in range(2))
    await settled(lambda: stored.reads == ["shop"])
    leaving.cancel()
    stored.may_answer.set()
    assert (await staying).find(SHOP) == known(SHOP)
