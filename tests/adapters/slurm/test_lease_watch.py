"""When an attempt that does not renew its lease counts as lost."""

from fetchml.adapters.slurm.attempt_exits import LeaseWatch

LEASE = 10


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def looked(watch: LeaseWatch, clock: Clock, renewal: int | None, *, seconds: float = 0.0) -> bool:
    """A reading that takes some time."""
    watch.begin()
    clock.now += seconds
    return watch.is_over(renewal, LEASE)


def test_lease_is_over_after_twice_its_length() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    assert not looked(watch, clock, 1)
    clock.now += 2 * LEASE - 0.1
    assert not looked(watch, clock, 1)
    clock.now += 0.2
    assert looked(watch, clock, 1)


def test_renewal_begins_it_anew() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    for renewal in range(5):
        assert not looked(watch, clock, renewal)
        clock.now += 2 * LEASE + 1
    assert looked(watch, clock, renewal)


def test_slow_readings_are_not_time_without_a_renewal() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    # It may have been renewed at any moment of a reading, but for what the reading saw.
    assert not looked(watch, clock, 1, seconds=3 * LEASE)
    assert not looked(watch, clock, 1, seconds=3 * LEASE)
    assert looked(watch, clock, 1)


def test_attempt_without_a_lease_is_never_over() -> None:
    clock = Clock()
    watch = LeaseWatch(clock)
    for _ in range(3):
        assert not looked(watch, clock, None)
        assert not watch.is_over(1, 0)
        clock.now += 1000
