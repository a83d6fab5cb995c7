"""What the benchmark of reading fills a database with is memory that can be read."""

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import select

from benchmarks.loading import GISTS_OF_AN_EVENT, PROJECT_ID, Language, Size, load, user_id
from benchmarks.reading_plans import plans
from schemas.settings import StorageSettings
from storage.database import create_engine
from storage.recall import read_entries, read_recent_gists
from storage.tables import users

SIZE = Size(users=3, facts=50, gists=21, dimension=256)
LONG_AGO = datetime.now(UTC) - timedelta(days=180)


async def test_every_user_has_facts_events_and_gists_and_each_statement_a_plan(database_url: str) -> None:
    language = Language(SIZE.dimension, seed=1)
    told: list[int] = []
    loaded = await load(database_url, SIZE, language, limit_s=60, progress=lambda count, _: told.append(count))
    assert loaded.users == told[-1] == SIZE.users
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    async with engine.connect() as connection:
        for number in range(SIZE.users):
            assert len(await read_entries(connection, PROJECT_ID, user_id(number))) == SIZE.facts
            gists = await read_recent_gists(
                connection, PROJECT_ID, user_id(number), since=LONG_AGO, until=datetime.now(UTC), limit=100
            )
            assert len(gists) == SIZE.gists
        counts = (await connection.execute(select(users.c.profile_count, users.c.event_count))).all()
    await engine.dispose()
    assert {tuple(row) for row in counts} == {(SIZE.facts, -(-SIZE.gists // GISTS_OF_AN_EVENT))}
    (question,), (vector,) = language.questions(1)
    found = await plans(database_url, user_id(0), question, vector)
    assert len(found) == 4
    assert all("Execution Time" in plan for plan in found.values())


async def test_what_does_not_fit_into_the_time_is_left_out(database_url: str) -> None:
    loaded = await load(database_url, SIZE, Language(SIZE.dimension, seed=1), limit_s=0, progress=lambda *_: None)
    assert loaded.users == 0
