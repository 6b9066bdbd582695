"""Token buckets: the admitted requests, and the values of the RateLimit-* headers."""

from hypothesis import example, given
from hypothesis import strategies as st

from fetchml.auth.limits import RateLimiter, RateState


def test_a_burst_is_admitted_and_then_the_refill() -> None:
    limiter = RateLimiter(per_second=2, burst=3)
    assert [limiter.take("a", 0) for _ in range(4)] == [
        RateState(3, 2, 1),
        RateState(3, 1, 1),
        RateState(3, 0, 2),
        None,
    ]
    assert limiter.retry_after("a", 0) == 1
    assert limiter.take("a", 0.49) is None
    assert limiter.take("a", 0.5) == RateState(3, 0, 2)
    assert limiter.take("b", 0.5) == RateState(3, 2, 1), "each caller has a bucket of its own"


def test_memory_is_bounded_and_the_least_recent_caller_is_forgotten() -> None:
    limiter = RateLimiter(per_second=1, burst=1, max_callers=2)
    assert limiter.take("a", 0)
    assert limiter.take("b", 0)
    assert limiter.take("c", 0)
    assert len(limiter._buckets) == 2
    assert limiter.take("c", 0) is None
    assert limiter.take("a", 0), "forgotten, so it starts afresh"


@example(per_second=1, burst=1, gaps=[0.1, 0.2, 0.1])
@given(
    per_second=st.integers(1, 50),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 0.2, allow_nan=False), max_size=100),
)
def test_no_more_than_burst_and_rate_are_admitted(
    per_second: int, burst: int, gaps: list[float]
) -> None:
    limiter = RateLimiter(per_second, burst)
    now = 0.0
    passed = 0
    for gap in gaps:
        now += gap
        if limiter.take("a", now):
            passed += 1
        else:
            wait = limiter.retry_after("a", now)
            assert wait >= 1
    assert passed <= burst + now * per_second + 1e-6
    assert limiter.take("a", now + limiter.retry_after("a", now)), "Retry-After is long enough"
