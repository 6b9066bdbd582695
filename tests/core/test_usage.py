"""Steps of points, days, and what a request for the history of use may be."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core import usage as requests
from fetchml.core.usage import HOUR_MS, SAMPLE_MS, DayUse, parts_of_days, step_ms
from fetchml.engine.daily_counts import day_of

NOW = 1_760_000_000_000
DAY = 24 * HOUR_MS
moments = st.integers(0, 4_000_000_000_000)


@given(moments, st.integers(1, 400 * DAY), st.integers(1, 2_000))
def test_steps_are_whole_samples_and_few_enough(since: int, length: int, points: int) -> None:
    step = step_ms(since, since + length, points)
    assert step % SAMPLE_MS == 0
    assert -(-length // step) <= points
    assert step == SAMPLE_MS or (step - SAMPLE_MS) * points < length, "and no wider than needed"


@given(
    moments,
    st.integers(0, 3 * DAY),
    st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham"]),
)
def test_parts_of_days_cross_no_midnight(since: int, length: int, zone: str) -> None:
    parts = list(parts_of_days(since, since + length))
    assert sum(length for _, length in parts) == length
    assert [begin for begin, _ in parts] == sorted({begin for begin, _ in parts})
    for begin, each in parts:
        assert each > 0
        assert day_of(begin, ZoneInfo(zone)) == day_of(begin + each - 1, ZoneInfo(zone))


def test_sums_add_up() -> None:
    assert DayUse(1, 2, 3, 4).plus(DayUse(10, 20, 30, 40)) == DayUse(11, 22, 33, 44)


@pytest.mark.parametrize(
    ("since", "until", "points", "fault"),
    [
        (None, None, None, None),
        (0, 1, 1, None),
        (5, None, 2_000, None),
        (None, None, 0, "points: must be between 1 and 2000"),
        (None, None, 2_001, "points: must be between 1 and 2000"),
        (None, None, 2**63 - 1, "points: must be between 1 and 2000"),
        (5, 5, None, "since: must be before until"),
        (-1, None, None, "since: must be between the years 1970 and 9999"),
        (None, 1 << 60, None, "until: must be between the years 1970 and 9999"),
    ],
)
def test_requests_for_points(
    since: int | None, until: int | None, points: int | None, fault: str | None
) -> None:
    assert requests.history_fault(since, until, points) == fault


def test_periods_by_default() -> None:
    assert requests.of_gpus(None, None, None, NOW) == requests.Period(NOW - HOUR_MS, NOW, 300)
    assert requests.of_gpus(None, NOW - DAY, 5, NOW) == requests.Period(
        NOW - DAY - HOUR_MS, NOW - DAY, 5
    )
    assert requests.of_gpus(None, NOW + DAY, None, NOW).until == NOW, "the future has no samples"
    whole = requests.of_task(None, None, None, NOW)
    assert whole.since == 0
    assert whole.until > NOW
    days = requests.of_days(None, None, NOW)
    assert day_of(days.since, ZoneInfo("UTC")) == "2025-09-10"
    assert day_of(days.until, ZoneInfo("UTC")) == "2025-10-09"


def test_requests_for_days() -> None:
    assert requests.days_fault(None, None, NOW) is None
    assert requests.days_fault(NOW - 400 * DAY, NOW, NOW) is None
    far = "since: must be at most 400 days before until"
    assert requests.days_fault(NOW - 400 * DAY - 1, NOW, NOW) == far
    assert requests.days_fault(0, None, NOW) == far
    assert requests.days_fault(NOW, NOW - 1, NOW) == "since: must be before until"
