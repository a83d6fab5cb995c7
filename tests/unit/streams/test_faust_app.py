"""The settings of a Faust app that decide whether a member stays in its group."""

from schemas.settings import KafkaSettings
from streams.faust_app import new_app

DAY_S = 24 * 3600


def test_a_stage_that_is_full_for_days_does_not_leave_its_group() -> None:
    conf = new_app("app", KafkaSettings(), 1).conf
    assert conf.broker_max_poll_interval > 2 * DAY_S


def test_a_member_that_is_gone_is_missed_after_the_session_of_the_settings() -> None:
    conf = new_app("app", KafkaSettings(session_timeout_s=5.0, heartbeat_interval_s=1.5), 1).conf
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (5.0, 1.5)
