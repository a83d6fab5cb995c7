"""Waiting for what a start needs."""

import asyncio

import pytest

from schemas.errors import ConfigurationError, RetryLater
from streams.starting import patiently
from streams.stopping import done_before


class Service:
    """Away so many times, then there."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.asked <= self.away:
            raise RetryLater("the broker is away")
        return "here"


async def test_a_start_goes_on_once_the_service_is_there() -> None:
    service = Service(away=3)
    assert await patiently(service.ask, 30.0, retry_s=0.0) == "here"
    assert service.asked == 4


async def test_a_start_gives_up_with_the_reason_after_its_time() -> None:
    with pytest.raises(RetryLater, match="the broker is away"):
        await patiently(Service(away=1000).ask, 0.0, retry_s=0.0)


async def test_a_start_that_is_told_to_stop_does_not_wait_any_more() -> None:
    service, stop = Service(away=1000), asyncio.Event()

    async def start() -> None:
        await patiently(service.ask, 3600.0, retry_s=3600.0)

    starting = asyncio.create_task(done_before(stop, start()))
    while not service.asked:
        await asyncio.sleep(0)
    stop.set()
    assert await starting is False
    assert service.asked == 1


async def test_what_a_person_must_set_right_is_not_waited_for() -> None:
    async def refuse() -> None:
        raise ConfigurationError("other partition counts")

    with pytest.raises(ConfigurationError):
        await patiently(refuse, 3600.0)
