"""W3C trace context: which values are passed on, and which are dropped."""

import pytest

from schemas.trace import MAX_TRACESTATE_CHARACTERS, NO_TRACE, valid_trace

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
STATE = "rojo=00f067aa0ba902b7,tenant@vendor=t61rcWkgMzE"


def test_a_valid_trace_is_passed_on_as_it_came() -> None:
    trace = valid_trace(PARENT, STATE)
    assert trace.named() == {"traceparent": PARENT, "tracestate": STATE}
    assert trace.headers() == (("traceparent", PARENT.encode()), ("tracestate", STATE.encode()))


def test_a_later_version_may_have_more_fields() -> None:
    assert valid_trace(f"01-{TRACE_ID}-{PARENT_ID}-01-more", None)
    assert valid_trace(f"01-{TRACE_ID}-{PARENT_ID}-01", None)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        f"{PARENT}-more",
        f"{PARENT}\n",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-0g",
        f"01-{TRACE_ID}-{PARENT_ID}-01.more",
        f"01-{TRACE_ID}-{PARENT_ID}-01-{'x' * 1000}",
        None,
        7,
    ],
)
def test_an_invalid_parent_is_no_trace_whatever_the_state(parent: object) -> None:
    assert valid_trace(parent, STATE) == NO_TRACE
    assert not valid_trace(parent, STATE)


@pytest.mark.parametrize(
    "state",
    [
        "",
        " , ",
        "novalue",
        "UPPER=1",
        "a=b=c",
        "a=1,a=2",
        "a=\x00",
        "a=é",
        ",".join(f"k{number}=v" for number in range(33)),
        f"a={'x' * MAX_TRACESTATE_CHARACTERS}",
        None,
        {"a": 1},
    ],
)
def test_an_invalid_state_is_dropped_and_the_parent_kept(state: object) -> None:
    assert valid_trace(PARENT, state).named() == {"traceparent": PARENT}
