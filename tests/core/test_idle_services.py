"""The rule of idle Jupyter services."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core import jupyter
from fetchml.core.jupyter import Idle


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(14_400, "idle for 4 h"), (5400, "idle for 90 min"), (90, "idle for 90 s")],
)
def test_idle_time_in_words(seconds: int, words: str) -> None:
    assert jupyter.describe_idle(seconds * 1000) == words
    assert " " in words, "so that it is no user's name"


def test_idle_time_without_limit() -> None:
    assert jupyter.idle(10**15, 0, 0, Idle()) == Idle()
    assert jupyter.next_check_ms(10**15, 0, Idle()) == jupyter.CHECK_MS


@given(
    idle_s=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), min_size=1, max_size=60),
)
def test_service_is_never_stopped_in_use_or_without_warning(
    idle_s: int, steps: list[tuple[int, bool]]
) -> None:
    """Looked at after any pauses, in seconds, with something happening in some of them."""
    idle_ms = idle_s * 1000
    warning = min(jupyter.WARNING_MS, idle_ms // 4)
    now, last, found = 0, 0, Idle()
    quiet_since = 0
    for pause, used in steps:
        now += pause * 1000
        if used:
            last = now
        before, found = found, jupyter.idle(now, last, idle_ms, found)
        if used:
            assert found == Idle()
        if found.stops_at is None:
            assert not found.now
            assert now < last + idle_ms - warning
            quiet_since = now
            continue
        assert found.stops_at >= last + idle_ms
        assert found.warned_at is not None
        assert found.warned_at >= quiet_since
        assert found.stops_at - found.warned_at >= warning
        if before.stops_at is not None:
            assert found == before._replace(now=found.now), "a promise is kept"
        assert found.now == (now >= found.stops_at)
        assert jupyter.next_check_ms(now, idle_ms, found) <= max(
            jupyter.SHORTEST_CHECK_MS, jupyter.CHECK_MS
        )
