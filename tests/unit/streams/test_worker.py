"""The worker's Faust apps are stopped, however they started."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.worker import _running_app


class FailingApp:
    conf = SimpleNamespace(id="app")
    crash_reason = None
    stopped = False

    async def start(self) -> None:
        raise ConnectionError("the broker went away")

    async def stop(self) -> None:
        self.stopped = True


async def test_an_app_that_fails_half_way_is_stopped_for_its_thread_would_keep_the_process_alive() -> None:
    app = FailingApp()
    with pytest.raises(ConnectionError):
        async with _running_app(cast(Any, app), lambda _: None):
            raise AssertionError("it did not start")
    assert app.stopped
