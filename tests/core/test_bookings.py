"""Bookings of GPUs: the rules, and properties in simulated time."""

from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.bookings import booking as rules
from fetchml.core.bookings.booking import MARGIN_MS, Booking
from fetchml.core.events import (
    BookingsChanged,
    CancelRequested,
    NeverStarted,
    Prestaged,
    StopAttempt,
    TimePassed,
)
from fetchml.core.model import Task, User
from fetchml.engine.explain import explain
from tests.core.host import HOUR, MINUTE, RESERVE_MS, Host, task

DAY = 24 * HOUR
START = 1_760_000_000_000


def booking(
    name: str = "b", user: str = "alice", *gpus: str, begin: int = 0, end: int = HOUR
) -> Booking:
    """`begin` and `end`: after START."""
    return Booking(name, user, gpus or ("G0",), START + begin, START + end, START, "root")


def host(*bookings: Booking, gpus: int = 1, **limits: Any) -> Host:
    made = Host(gpus=gpus, **limits)
    made.now = START
    made.do(BookingsChanged(START, bookings))
    return made


def pass_time(on: Host, ms: int) -> list[str]:
    on.now += ms
    return on.do(TimePassed(on.now, on.now))


def of(name: str, user: str, **spec: Any) -> Task:
    return task(name, user=user, at=START, **spec)


def test_booked_gpu_goes_to_its_user_only() -> None:
    box = host(booking())
    assert box.submit(of("other", "bob")) == []
    assert box.submit(of("own", "alice")) == ["own"]
    assert box.last.next_due == START + HOUR
    box.end("own")
    assert pass_time(box, HOUR - 1) == []
    assert pass_time(box, 1) == ["other"]
    assert not box.state.bookings, "one that has ended is forgotten"


def test_only_a_time_limit_lets_a_task_start_before_a_booking() -> None:
    box = host(booking(begin=HOUR, end=2 * HOUR))
    assert box.submit(of("endless", "bob")) == []
    assert box.submit(of("long", "bob", timeout_seconds=3600)) == []
    in_time = (HOUR - MARGIN_MS) // 1000
    assert box.submit(of("short", "bob", timeout_seconds=in_time)) == ["short"], "it passes"
    box.end("short")
    assert box.submit(of("own", "alice")) == ["own"], "its own booking does not matter"


@pytest.mark.parametrize(
    ("preempts", "preemptible", "stopped"),
    [(True, True, ["a"]), (True, False, []), (False, True, [])],
)
def test_what_still_runs_is_left_unless_it_may_be_preempted(
    preempts: bool, preemptible: bool, stopped: list[str]
) -> None:
    box = host(preemption=preempts)
    box.submit(of("a", "bob", preemptible=preemptible))
    box.do(BookingsChanged(box.now, [booking(begin=MINUTE)]))
    assert box.of(StopAttempt) == []
    pass_time(box, MINUTE)
    assert box.of(StopAttempt) == stopped
    if not stopped:
        return
    why = "its GPU is reserved from 2025-10-09 08:54:20 UTC on"
    assert box.reason("a") == f"It is being ended, and tried again: {why}."
    pass_time(box, MINUTE)
    assert box.of(StopAttempt) == [], "once"
    assert box.end("a", signal=15, stopped=True) == []
    assert (box.task("a").status, box.task("a").preempted) == ("queued", 1)
    assert pass_time(box, DAY) == ["a"]


def test_prestaged_task_makes_way_for_a_booking() -> None:
    box = host(prestage=True)
    box.submit(of("first", "bob"))
    box.submit(of("next", "bob"))
    assert box.prestaged == {"next": ("G0",)}
    box.do(Prestaged(box.now, "next", 1))
    box.do(BookingsChanged(box.now, [booking(begin=MINUTE)]))
    assert "next" not in {t.id for t in box.state.prestaged()}
    assert box.end("first") == []
    box.do(NeverStarted(box.now, "next", 1))
    assert box.task("next").status == "queued"
    assert box.submit(of("own", "alice")) == ["own"]


def test_waiting_task_reserves_nothing_on_booked_gpus() -> None:
    """It would keep the cores from others, and the GPU from the user whose booking it is."""
    box = host(booking(begin=DAY, end=2 * DAY))
    box.submit(of("blocked", "bob", cpu=8))
    box.now += 2 * RESERVE_MS
    assert box.submit(of("cores", "carol", gpu=0, cpu=8)) == ["cores"]
    box.end("cores")
    assert box.submit(of("own", "alice", cpu=8)) == ["own"]


def test_preemption_does_not_count_on_booked_gpus() -> None:
    box = host(gpus=2, preemption=True)
    box.submit(of("low", "carol", preemptible=True, priority=1))
    taken = box.task("low").gpu_uuids
    other = next(uuid for uuid in ("G0", "G1") if uuid not in taken)
    box.do(BookingsChanged(box.now, [booking("b", "alice", other)]))
    box.submit(of("high", "bob", priority=9))
    assert box.of(StopAttempt) == ["low"], "the free GPU is not for bob"
    box.end("low", signal=15, stopped=True)
    assert box.task("high").gpu_uuids == taken


def test_restart_knows_bookings_before_anything_starts() -> None:
    box = host(booking())
    box.submit(of("other", "bob"))
    box.restart()
    box.do(BookingsChanged(box.now, [booking()]))
    assert box.task("other").status == "queued"


def test_explanation_names_the_user_to_those_who_may_know() -> None:
    box = host(booking("b", "alice", "G0", "G1", begin=HOUR, end=2 * HOUR), gpus=2)
    box.submit(of("a", "bob"))
    text = (
        "It waits for GPUs that are not reserved: GPUs 0, 1 are reserved{} from "
        "2025-10-09 09:53:20 UTC. With a time limit that ends before, it could start."
    )
    assert box.reason("a") == text.format(" for alice")
    hidden = explain(box.state, box.task("a"), box.now, may_name=lambda _: False)
    assert hidden.reason == text.format("")
    box.now += HOUR
    assert box.reason("a") == (
        "It waits for GPUs that are not reserved: GPUs 0, 1 are reserved for alice until "
        "2025-10-09 10:53:20 UTC."
    )


# A request


TIME = "2025-10-09T{}:00Z"
GOOD = {"user_id": "alice", "gpu": 1, "ends_at": TIME.format("12:00")}


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"user_id": None}, "user_id", "must not be null: leave it out"),
        ({"user_id": "a b"}, "user_id", "must be the name of a key"),
        ({"user_id": "a" * 65}, "user_id", "must not be longer than 64 characters"),
        ({"gpu": 0}, "gpu", "must be between 1 and 1024"),
        ({"gpu": 2}, "gpu", "requests 2, but this host has 1"),
        ({"gpu_uuids": ["G0"]}, "gpu_uuids", "one of both"),
        ({"gpu": ..., "gpu_uuids": []}, "gpu_uuids", "must not be empty"),
        ({"gpu": ..., "gpu_uuids": ["G0", "G0"]}, "gpu_uuids", "twice"),
        ({"gpu": ..., "gpu_uuids": ["G7"]}, "gpu_uuids", "GPU 'G7' not found"),
        ({"ends_at": "noon"}, "ends_at", "must be a time"),
        ({"ends_at": ...}, "ends_at", "is required"),
        ({"ends_at": TIME.format("08:00")}, "ends_at", "must be after starts_at"),
        ({"ends_at": "2025-12-09T00:00:00Z"}, "ends_at", "at most 31 days"),
        ({"starts_at": TIME.format("08:00")}, "starts_at", "must not be in the past"),
        ({"starts_at": "2027-10-09T00:00:00Z"}, "starts_at", "within the next 366 days"),
    ],
)
def test_bad_requests_are_refused_with_the_reason(
    change: dict[str, object], field: str, rule: str
) -> None:
    fields = {name: each for name, each in {**GOOD, **change}.items() if each is not ...}
    _, wrong = rules.read(fields, START, ["G0"])
    assert any(each.field == field and rule in each.rule for each in wrong), wrong


def test_begin_in_the_last_minute_is_now() -> None:
    fields = {**GOOD, "starts_at": TIME.format("08:53")}
    new, wrong = rules.read(fields, START, ["G0"])
    assert new is not None
    assert (wrong, new.starts_at, new.ends_at) == ([], START, START + 3 * HOUR + 400_000)


def test_gpus_of_overlapping_bookings_are_taken() -> None:
    taken = booking("b", "bob", "G1", begin=HOUR, end=2 * HOUR)
    new, _ = rules.read({**GOOD, "gpu": 2}, START, ["G0"])
    assert new is not None
    assert rules.choose(new, [taken], ["G1", "G0", "G2"]) == ("G0", "G2")
    assert rules.choose(new, [taken], ["G1", "G0"]) is None
    named = new._replace(gpu=0, gpu_uuids=("G0", "G1"))
    assert rules.choose(named, [taken], []) is taken
    after = named._replace(starts_at=START + 2 * HOUR)
    assert rules.choose(after, [taken], []) == ("G0", "G1"), "they only touch"


# Simulated time


def reaches(one: Task, all_of_them: list[Booking], now: int) -> list[Booking]:
    """Bookings of others that the task would reach into; said in another way than in the core."""
    limit = one.spec.timeout_seconds * 1000
    return [
        each
        for each in all_of_them
        if each.user != one.user
        and set(each.gpu_uuids) & set(one.gpu_uuids)
        and each.ends_at > now
        and (not limit or now + limit > each.starts_at)
    ]


BOOKINGS = st.lists(
    st.builds(
        lambda user, gpus, begin, length: (user, gpus, begin, length),
        st.sampled_from(["alice", "bob"]),
        st.sets(st.sampled_from(["G0", "G1"]), min_size=1),
        st.integers(0, 20),
        st.integers(1, 10),
    ),
    max_size=4,
)
TASKS = st.lists(
    st.tuples(
        st.sampled_from(["alice", "bob", "carol"]),
        st.integers(0, 2),
        st.sampled_from([0, 1, 5, 20]),
        st.integers(1, 4),
        st.booleans(),
        st.integers(4, 6),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=8,
)


@given(drawn=BOOKINGS, tasks=TASKS, prestage=st.booleans(), preempts=st.booleans())
def test_nothing_starts_into_a_booking_and_none_waits_for_ever(
    drawn: list[Any], tasks: list[Any], prestage: bool, preempts: bool
) -> None:
    """Times are in units of ten minutes; a task with a time limit runs for at most that."""
    unit = 10 * MINUTE
    bookings: list[Booking] = []
    for number, (user, gpus, begin, length) in enumerate(drawn):
        new = rules.NewBooking(
            user, START + begin * unit, START + (begin + length) * unit, tuple(sorted(gpus)), 0
        )
        chosen = rules.choose(new, bookings, [])
        if isinstance(chosen, tuple):
            bookings.append(
                Booking(str(number), user, chosen, new.starts_at, new.ends_at, START, "root")
            )
    box = host(*bookings, gpus=2, prestage=prestage, preemption=preempts)
    coming: list[tuple[int, int, str, str]] = []
    specs = {}
    for number, (user, gpu, limit, runs, preemptible, priority, at) in enumerate(tasks):
        spec = {"timeout_seconds": limit * 600, "preemptible": preemptible, "priority": priority}
        specs[f"t{number}"] = of(f"t{number}", user, gpu=gpu, **spec)
        heappush(coming, (START + at * unit, number, f"t{number}", "submit"))
        tasks[number] = min(runs, limit) if limit else runs
    started: set[str] = set()
    order = len(tasks)
    stopping: set[str] = set()

    def look() -> None:
        """Note what has started, and that it may."""
        nonlocal order
        for task_id in list(box.state.held):
            one = box.task(task_id)
            key = f"{task_id}/{one.attempt}"
            if key in started:
                continue
            started.add(key)
            assert not reaches(one, bookings, box.now), (one, box.now)
            order += 1
            heappush(coming, (box.now + tasks[int(task_id[1:])] * unit, order, task_id, key))
        for one in list(box.state.tasks.values()):
            key = f"{one.id}/{one.attempt}"
            if one.halt is not None and key not in stopping:
                stopping.add(key)
                order += 1
                heappush(coming, (box.now + MINUTE, order, one.id, key))
            if one.prestaged and one not in box.state.prestaged():
                box.do(NeverStarted(box.now, one.id, one.attempt))

    while coming or box.last.next_due is not None:
        due = box.last.next_due
        if due is not None and (not coming or due < coming[0][0]):
            box.now = due
            box.do(TimePassed(due, due))
            look()
            continue
        at, _, task_id, what = heappop(coming)
        box.now = max(box.now, at)
        if what == "submit":
            box.submit(specs[task_id])
        elif task_id in box.state.held and what == f"{task_id}/{box.task(task_id).attempt}":
            halted = box.task(task_id).halt is not None
            box.end(task_id, **({"signal": 15, "stopped": True} if halted else {"code": 0}))
        look()
    assert not box.state.tasks, [box.reason(task_id) for task_id in box.state.tasks]
    assert {each.split("/")[0] for each in started} == set(specs)


def test_cancelled_task_in_the_way_is_not_preempted_again() -> None:
    box = host(preemption=True)
    box.submit(of("a", "bob", preemptible=True))
    box.do(CancelRequested(box.now, "a", User("bob")))
    box.do(BookingsChanged(box.now, [booking()]))
    assert box.of(StopAttempt) == []
