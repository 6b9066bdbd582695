"""When messages are sent: backoff, and a few of each user at once, in simulated time."""

import random
from collections import Counter

from msgspec.structs import replace

from fetchml.core.notification_outbox import (
    DAY_MS,
    MAX_DELAY_MS,
    SENT_AT_ONCE,
    SENT_AT_ONCE_BY_USER,
    Delivery,
    DeliveryQueue,
    after_failure,
    resent,
    retry_delay_ms,
)

SECOND = 1000


def message(name: str, user: str = "ada", at: int = 0) -> Delivery:
    return Delivery(name, user, "task.completed", "https://a.example", at, at + DAY_MS, at)


def take(queue: DeliveryQueue, now: int) -> list[Delivery]:
    due = queue.take(now)
    assert due.expired == []
    return due.to_send


def fail(queue: DeliveryQueue, one: Delivery, now: int, jitter: float = 0) -> Delivery:
    queue.sent(one.id)
    after = after_failure(one, now, "no", jitter)
    if after.dead_at is None:
        queue.add(after)
    return after


def test_delays_double_up_to_an_hour_and_vary() -> None:
    assert [retry_delay_ms(n, 0) // SECOND for n in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert retry_delay_ms(11, 0) == retry_delay_ms(10_000, 0) == MAX_DELAY_MS
    assert retry_delay_ms(1, 1) == 2_500
    assert [retry_delay_ms(n, 0, 60 * SECOND) // SECOND for n in (1, 2, 7)] == [60, 120, 3600]
    assert [retry_delay_ms(n, 0, MAX_DELAY_MS) for n in (1, 2)] == [MAX_DELAY_MS] * 2


def test_dead_after_a_day_of_attempts() -> None:
    queue, jitter = DeliveryQueue(), random.Random(1)
    queue.add(message("a"))
    now, attempts = 0, 0
    while (at := queue.next_at()) is not None:
        now = max(now, at)
        for one in take(queue, now):
            attempts += 1
            after, last = fail(queue, one, now, jitter.random()), now
        assert len(queue) <= 1
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
    renewed = resent(dead, 3 * DAY_MS)
    assert (renewed.dead_at, renewed.next_at) == (None, 3 * DAY_MS)
    assert renewed.give_up_at == 4 * DAY_MS
    assert renewed.id == dead.id


def test_hanging_receivers_delay_nobody_else() -> None:
    """Thirty users whose receivers hang for ten seconds each time, and one whose does not."""
    queue, now = DeliveryQueue(), 0
    hanging: list[tuple[int, Delivery]] = []
    for user in range(30):
        for n in range(50):
            queue.add(message(f"h{user}-{n}", f"user{user}"))
    delivered = 0
    for n in range(600):
        now += SECOND
        for end, one in [each for each in hanging if each[0] <= now]:
            hanging.remove((end, one))
            fail(queue, one, now, 0.5)
        queue.add(message(f"ok{n}", "ada", at=now))
        for one in take(queue, now):
            if one.user == "ada":
                assert one.created_at == now
                queue.sent(one.id)
                delivered += 1
            else:
                hanging.append((now + 10 * SECOND, one))
        by_user = Counter(one.user for _, one in hanging)
        assert max(by_user.values(), default=0) <= SENT_AT_ONCE_BY_USER
    assert delivered == 600


def test_users_take_turns_when_all_places_are_taken() -> None:
    queue = DeliveryQueue()
    users = SENT_AT_ONCE // SENT_AT_ONCE_BY_USER * 2
    for user in range(users):
        for n in range(SENT_AT_ONCE_BY_USER):
            queue.add(message(f"{user}-{n}", f"user{user}"))
    first = take(queue, 0)
    assert len(first) == SENT_AT_ONCE
    assert set(Counter(one.user for one in first).values()) == {2}
    for one in first:
        queue.sent(one.id)
    assert {one.user for one in take(queue, 0)} == {f"user{user}" for user in range(users)}


def test_message_sent_again_waits_for_no_earlier_failure() -> None:
    queue = DeliveryQueue()
    queue.add(message("a"))
    [one] = take(queue, 0)
    after = fail(queue, one, 0)
    assert take(queue, 1) == []
    queue.add(resent(after, 1))
    assert [each.id for each in take(queue, 1)] == ["a"]
    assert take(queue, after.next_at) == [], "the earlier time of the same message"


def test_random_schedules_lose_nothing() -> None:
    for seed in range(10):
        chance, queue = random.Random(seed), DeliveryQueue()
        alive, now, sending = set[str](), 0, dict[str, Delivery]()
        for n in range(300):
            now += chance.randrange(4) * SECOND
            match chance.randrange(6):
                case 0 | 1:
                    queue.add(message(f"m{n}", chance.choice("ab"), now))
                    alive.add(f"m{n}")
                case 2 if alive:
                    gone = chance.choice(sorted(alive))
                    if gone not in sending:
                        queue.remove(gone)
                        alive.discard(gone)
                case 3 if sending:
                    one = sending.pop(chance.choice(sorted(sending)))
                    queue.sent(one.id)
                    alive.discard(one.id)
                case 4 if sending:
                    one = sending.pop(chance.choice(sorted(sending)))
                    if fail(queue, one, now, chance.random()).dead_at is not None:
                        alive.discard(one.id)
                case _:
                    sending |= {one.id: one for one in take(queue, now)}
            assert len(queue) == len(alive)
        while alive:
            for one in sending.values():
                queue.sent(one.id)
                alive.discard(one.id)
            sending = {one.id: one for one in take(queue, now)}
            at = queue.next_at()
            now = max(now, at) if at is not None and not sending else now
        assert queue.next_at() is None or take(queue, now + DAY_MS) == []
