"""When messages are sent: backoff, fairness and patience, in simulated time."""

import random
from collections import Counter

from msgspec.structs import replace

from fetchml.core.notifications import turns
from fetchml.core.notifications.delivery import Delivery
from fetchml.core.notifications.retry import (
    DAY_MS,
    MAX_DELAY_MS,
    after_failure,
    again,
    delay_ms,
    expired,
)
from fetchml.core.notifications.turns import DeliveryTurns

SECOND = 1000


def message(name: str, user: str = "ada", url: str = "https://a.example", at: int = 0) -> Delivery:
    return Delivery(name, user, "task.completed", url, at, at + DAY_MS, at)


def fail(due: DeliveryTurns, one: Delivery, now: int, jitter: float = 0) -> Delivery:
    after = after_failure(one, now, "no", jitter)
    due.failed(one.id, now, jitter, None if after.dead_at is not None else after)
    return after


def test_delays_double_up_to_an_hour_and_vary() -> None:
    assert [delay_ms(n, 0) // SECOND for n in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert delay_ms(11, 0) == delay_ms(10_000, 0) == MAX_DELAY_MS
    assert delay_ms(1, 1) == 2_500
    assert [delay_ms(n, 0, 60 * SECOND) // SECOND for n in (1, 2, 7)] == [60, 120, 3600]
    assert [delay_ms(n, 0, MAX_DELAY_MS) for n in (1, 2)] == [MAX_DELAY_MS] * 2


def test_first_delay_is_of_the_message_and_of_its_receiver() -> None:
    due, first_ms = DeliveryTurns(60 * SECOND), 60 * SECOND
    due.add(message("a"))
    due.add(message("b"))
    [one, other] = due.take(0)
    for each in (one, other):
        due.failed(each.id, 1, 0, after_failure(each, 1, "no", 0, first_ms=first_ms))
    assert due.next_at() == 1 + 120 * SECOND, "the second failure of the receiver"
    assert [each.next_at for each in due.take(1 + 120 * SECOND)] == [1 + first_ms]


def test_dead_after_a_day_of_attempts() -> None:
    due, jitter = DeliveryTurns(), random.Random(1)
    due.add(message("a"))
    now, attempts = 0, 0
    while (at := due.next_at()) is not None:
        now = max(now, at)
        for each in due.expired(now):
            raise AssertionError(f"{each} waited for longer than its day")
        for one in due.take(now):
            attempts += 1
            after, last = fail(due, one, now, jitter.random()), now
        assert len(due) <= 1
    assert after.dead_at is not None
    assert after.attempts == attempts
    assert 25 <= attempts <= 60
    assert DAY_MS - MAX_DELAY_MS <= last <= DAY_MS


def test_receiver_chooses_the_time_within_an_hour() -> None:
    one = message("a")
    assert after_failure(one, 0, "busy", 0, not_before=60_000).next_at == 60_000
    assert after_failure(one, 0, "busy", 0, not_before=9 * DAY_MS).next_at == MAX_DELAY_MS
    assert after_failure(one, 0, "gone", 0, permanent=True).dead_at == 0
    assert len(after_failure(one, 0, "x" * 5000, 0).error or "") == 300


def test_dead_letter_has_another_day() -> None:
    dead = replace(message("a"), dead_at=5, attempts=9, error="no")
    renewed = again(dead, 3 * DAY_MS)
    assert (renewed.dead_at, renewed.next_at) == (None, 3 * DAY_MS)
    assert renewed.give_up_at == 4 * DAY_MS
    assert renewed.id == dead.id


def test_one_at_a_time_after_a_failure_and_the_others_wait() -> None:
    due = DeliveryTurns()
    for n in range(10):
        due.add(message(f"m{n}"))
    first = due.take(0)
    assert len(first) == turns.OF_A_LANE
    for each in first:
        fail(due, each, 1)
    assert due.take(2) == []
    at = due.next_at()
    assert at is not None
    [probe] = due.take(at + 10 * SECOND)
    due.succeeded(probe.id)
    assert len(due.take(at + 10 * SECOND)) == turns.OF_A_LANE


def test_hanging_receivers_delay_nobody_else() -> None:
    """Thirty users whose receivers hang for ten seconds each time, and one whose does not."""
    due, now = DeliveryTurns(), 0
    hanging: list[tuple[int, Delivery]] = []
    for user in range(30):
        for n in range(50):
            due.add(message(f"h{user}-{n}", f"user{user}", f"https://h{user}.example/{n % 5}"))
    delays = list[int]()
    for n in range(600):
        now += SECOND
        for end, one in [each for each in hanging if each[0] <= now]:
            hanging.remove((end, one))
            fail(due, one, now, 0.5)
        due.add(message(f"ok{n}", "ada", at=now))
        assert len(hanging) <= turns.UNPROVEN
        for one in due.take(now):
            if one.user == "ada":
                delays.append(now - one.created_at)
                due.succeeded(one.id)
            else:
                hanging.append((now + 10 * SECOND, one))
        by_user = Counter(one.user for _, one in hanging)
        assert max(by_user.values(), default=0) <= turns.OF_A_USER
    assert len(delays) >= 590
    assert max(delays[:10]) <= 30 * SECOND
    assert max(delays[60:]) == 0


def test_message_that_fails_alone_holds_up_no_other_of_its_address() -> None:
    due, now, delivered = DeliveryTurns(), 0, set[str]()
    for n in range(20):
        due.add(message(f"m{n}"))
    while len(delivered) < 19:
        at = due.next_at()
        assert at is not None
        now = max(now, at)
        for one in due.take(now):
            if one.id == "m0":
                fail(due, one, now)
            else:
                due.succeeded(one.id)
                delivered.add(one.id)
    assert now < 60 * SECOND


def test_messages_behind_a_dead_receiver_expire_too() -> None:
    due = DeliveryTurns()
    for n in range(3):
        due.add(message(f"m{n}"))
    assert due.expired(DAY_MS) == []
    over = due.expired(DAY_MS + 1)
    assert sorted(each.id for each in over) == ["m0", "m1", "m2"]
    assert "its time is over" in (expired(over[0], DAY_MS + 1).error or "")
    assert len(due) == 0
    assert due.next_at() in (None, 0)
    assert due.take(DAY_MS + 2) == []
    assert due.next_at() is None


def test_message_sent_again_waits_for_no_earlier_failure() -> None:
    due = DeliveryTurns()
    due.add(message("a"))
    [one] = due.take(0)
    after = fail(due, one, 0)
    assert due.take(1) == []
    due.send_now(again(after, 1), 1)
    assert [each.id for each in due.take(1)] == ["a"]


def test_removed_messages_leave_nothing_behind() -> None:
    """A user who is always over the limit, and a receiver that is down."""
    due = DeliveryTurns()
    due.add(message("first"))
    [one] = due.take(0)
    fail(due, one, 0)
    for n in range(turns.SWEPT * 3):
        due.add(message(f"m{n}", at=1))
        due.remove(f"m{n - 1}")
    assert len(due) == 2
    assert len(due._ends) <= 2 * turns.SWEPT
    lane = due._lanes["ada", "https://a.example"]
    assert len(lane.waiting) <= 2 * turns.SWEPT


def test_random_schedules_lose_nothing() -> None:
    for seed in range(30):
        chance, due = random.Random(seed), DeliveryTurns()
        alive, now, on_the_way = set[str](), 0, dict[str, Delivery]()
        for n in range(300):
            now += chance.randrange(4) * SECOND
            match chance.randrange(6):
                case 0 | 1:
                    url = f"https://{chance.randrange(3)}.example"
                    due.add(message(f"m{n}", chance.choice("ab"), url, now))
                    alive.add(f"m{n}")
                case 2 if alive:
                    gone = chance.choice(sorted(alive))
                    if gone not in on_the_way:
                        due.remove(gone)
                        alive.discard(gone)
                case 3 if on_the_way:
                    one = on_the_way.pop(chance.choice(sorted(on_the_way)))
                    due.succeeded(one.id)
                    alive.discard(one.id)
                case 4 if on_the_way:
                    one = on_the_way.pop(chance.choice(sorted(on_the_way)))
                    if fail(due, one, now, chance.random()).dead_at is not None:
                        alive.discard(one.id)
                case _:
                    on_the_way |= {one.id: one for one in due.take(now)}
            assert len(due) == len(alive)
        while alive:
            for one in on_the_way.values():
                due.succeeded(one.id)
                alive.discard(one.id)
            on_the_way = {one.id: one for one in due.take(now)}
            at = due.next_at()
            now = max(now, at) if at is not None and not on_the_way else now
        assert due.next_at() is None or due.take(now + DAY_MS) == []
