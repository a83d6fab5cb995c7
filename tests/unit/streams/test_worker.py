"""The worker's Faust apps are stopped, however they started."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from streams import worker
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
        async with _running_app(cast(Any, app), lambda _: None, 0.0):
            raise AssertionError("it did not start")
    assert app.stopped


async def test_what_is_configured_without_effect_is_told_once_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ensure_topics(*_: object) -> int:
        raise ConfigurationError("no broker in this test")

    monkeypatch.setattr(worker, "ensure_topics", ensure_topics)
    told = ("config.yaml: use_timezone: no effect yet, dates are UTC",)
    with capture_logs() as logs:
        for settings in (Settings.model_validate({}, context={"without_effect": told}), Settings()):
            with pytest.raises(ConfigurationError):
                await worker.run_worker(settings)
    assert logs == [{"event": "settings.without_effect", "log_level": "warning", "reasons": list(told)}]
