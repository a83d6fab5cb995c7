"""Who waits for windows is told what came of them: once for those that were extracted together."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.windows import Window
from storage.window_results import WindowResult, read_window_results
from tests.integration.storage.builders import application, apply_once, change, unit, update, window


async def results(engine: AsyncEngine, windows: Sequence[Window], user_id: str = "ann") -> list[WindowResult]:
    async with engine.connect() as connection:
        return await read_window_results(connection, "default", user_id, [one.window_id for one in windows])


async def test_windows_that_were_extracted_together_have_one_result(engine: AsyncEngine) -> None:
    first, second = window(unit("b1", 1)), window(unit("b2", 2))
    memory = update(change("company", None, "Acme"), change("city", None, "Oslo"), summary="met")
    await apply_once(engine, application(first, second, memory=memory))
    (result,) = await results(engine, [first, second])
    assert [result] == await results(engine, [second])
    assert result.event_id is not None
    assert (len(result.added), result.updated, result.deleted) == (2, (), ())
    assert await results(engine, [first], user_id="bob") == []
    assert await results(engine, []) == []


async def test_results_are_told_apart_and_in_their_order_and_a_repetition_is_none(engine: AsyncEngine) -> None:
    first, second, third = (window(unit(f"b{number}", number)) for number in range(3))
    await apply_once(engine, application(first, memory=update(change("company", None, "Acme"))))
    again = update(change("company", "Acme", "Hooli"), change("town", None, "Oslo"))
    await apply_once(engine, application(second, read_revision=1, memory=again))
    gone = update(change("town", "Oslo", None), change("company", "Hooli", "Hooli"))
    await apply_once(engine, application(third, read_revision=2, memory=gone))
    one, two, three = await results(engine, [third, first, second])
    assert (len(one.added), len(two.added), len(three.added)) == (1, 1, 0)
    assert two.updated == one.added
    assert (three.updated, three.deleted) == ((), two.added)
