"""Fair shares: how use is counted, and the order that follows from it."""

import pytest

from fetchml.core.model import Resources
from fetchml.core.scheduling.shares import ENTRIES, STEP_SECONDS, Shares, weight
from tests.core.host import HOUR, MINUTE, Host, task


def test_use_is_counted_and_fades() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", weight=2.0, now=0)
    assert shares.used("alice", HOUR) == 2 * 3600
    shares.end("alice", "t", now=HOUR)
    assert shares.used("alice", HOUR) == 2 * 3600
    assert shares.used("alice", 25 * HOUR) == pytest.approx(3600)
    assert shares.used("bob", HOUR) == 0


def test_running_task_counts_a_minimum_from_its_start() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", weight=1.0, now=0)
    assert (shares.level("alice", 0), shares.level("bob", 0)) == (1, 0)
    shares.end("alice", "t", now=1000)
    assert shares.used("alice", 1000) == 1


def test_users_of_one_level_are_equal() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    for user, seconds in (("alice", 1), ("bob", STEP_SECONDS - 1), ("carol", STEP_SECONDS + 1)):
        shares.begin(user, "t", 1.0, now=0)
        shares.end(user, "t", now=int(seconds * 1000))
    levels = [shares.level(user, 301_000) for user in ("alice", "bob", "carol")]
    assert levels == [0, 0, 1]


def test_shares_survive_a_restart() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", 1.0, now=0)
    shares.end("alice", "t", now=HOUR)
    again = Shares(24 * HOUR, shares.dump())
    assert again.used("alice", 2 * HOUR) == shares.used("alice", 2 * HOUR)


def test_clock_set_back_counts_no_negative_use() -> None:
    shares = Shares(half_life_ms=24 * HOUR)
    shares.begin("alice", "t", 1.0, now=HOUR)
    shares.end("alice", "t", now=0)
    assert shares.used("alice", 0) == 0


def test_users_with_negligible_use_are_dropped() -> None:
    shares = Shares(half_life_ms=MINUTE)
    for number in range(3 * ENTRIES):
        shares.begin(f"user {number}", "t", 1.0, now=number * HOUR)
        shares.end(f"user {number}", "t", now=number * HOUR + MINUTE)
    assert len(shares.dump()) <= ENTRIES + 1


def test_task_without_gpus_counts_by_its_cores() -> None:
    assert weight(Resources(cpu=16), cores=64) == 0.25
    assert weight(Resources(cpu=128), cores=64) == 1.0
    assert weight(Resources(cpu=64, gpu=2), cores=64) == 2.0
    assert weight(Resources(cpu=1), cores=0) == 1.0


def test_user_who_used_less_goes_first() -> None:
    host = Host(gpus=1)
    host.submit(task("first"))
    host.submit(task("alice again"), task("bob", user="bob"))
    host.now = HOUR
    assert host.end("first") == ["bob"]


def test_priority_goes_before_shares() -> None:
    host = Host(gpus=1)
    host.submit(task("first"))
    host.submit(task("urgent", priority=6), task("bob", user="bob"))
    host.now = HOUR
    assert host.end("first") == ["urgent"]
