"""Hosts, requests and ends of attempts that the state machine of the core draws."""

import hypothesis.strategies as st

from fetchml.core.gpus.allocator import Placement
from fetchml.core.model import Resources, TaskSpec
from fetchml.core.scheduling.resources import IdleRule
from fetchml.core.state import Limits
from tests.core.oracle import TWO_OF_A_SWEEP

limits = st.builds(
    Limits,
    capacity=st.builds(Resources, st.just(4), st.just(16), st.sampled_from([0, 2])),
    max_running=st.integers(2, 5),
    reserve_after_ms=st.just(60_000),
    worker_id=st.just("box"),
    slots_per_gpu=st.integers(1, 2),
    placement=st.sampled_from(Placement),
    user_gpus=st.integers(0, 2),
    user_running=st.integers(0, 2),
    preemption=st.booleans(),
    prestage=st.booleans(),
    max_prestaged=st.integers(0, 2),
    idle=st.sampled_from([None, IdleRule(5, 10_000, 0, 10_000)]),
)
specs = st.builds(
    TaskSpec,
    job_name=st.just("job"),
    image=st.just("image"),
    command=st.just(("run",)),
    priority=st.integers(4, 6),
    cpu=st.one_of(st.none(), st.integers(0, 4)),
    memory_gb=st.one_of(st.none(), st.integers(0, 16)),
    gpu=st.one_of(st.none(), st.integers(0, 2)),
    max_retries=st.integers(0, 3),
    preemptible=st.booleans(),
    warn_seconds=st.sampled_from([0, 30]),
    sweep=st.sampled_from([None, TWO_OF_A_SWEEP]),
)
ends = st.one_of(
    st.builds(lambda code: {"code": code}, st.integers(0, 3)),
    st.builds(lambda signal: {"signal": signal}, st.sampled_from([6, 9, 15])),
    st.just({"signal": 9, "out_of_memory": True}),
    st.just({"signal": 9, "timed_out": True}),
    st.just({"code": 0, "stopped": True}),
    st.just({"code": 127, "start_error": "not found"}),
    st.just({"lost": "the machine was restarted"}),
    st.just({"lost": "manifest unknown", "no_image": True}),
)
