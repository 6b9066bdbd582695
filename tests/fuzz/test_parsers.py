"""Hypothesis against every parser of foreign bytes (`targets.py`).

`FUZZ_EXAMPLES` is the number of examples for each target; `make fuzz` asks for many more than the
suite does. What was found once lies in `cases/TARGET/`, one file an input, and is tried first.
"""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400"))
CASES = Path(__file__).parent / "cases"
MAX_CHANGES = 6


@st.composite
def mutations(draw: st.DrawFn, target: Target) -> bytes:
    """A seed of which pieces are replaced, lost or added."""
    data = bytearray(draw(st.sampled_from(target.seeds)))
    piece = st.sampled_from(target.tokens) | st.binary(max_size=8)
    for _ in range(draw(st.integers(1, MAX_CHANGES))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 12))] = draw(piece)
    return bytes(data)


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    made_of_tokens = st.lists(st.sampled_from(target.tokens) | st.binary(max_size=4), max_size=12)
    return mutations(target) | mutations(target) | made_of_tokens.map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_surprise_a_parser(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=max(1, int(EXAMPLES * target.share)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(inputs(target))
    def parse(data: bytes) -> None:
        with suppress(*target.refusals):
            target.parse(data)

    parse()


@pytest.mark.parametrize(
    "case", sorted(CASES.glob("*/*")), ids=lambda case: f"{case.parent.name}/{case.name}"
)
def test_what_was_found_once(case: Path) -> None:
    target = TARGETS[case.parent.name]
    with suppress(*target.refusals):
        target.parse(case.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_what_the_parser_reads(name: str) -> None:
    """Else the examples would all end at the first check."""
    target = TARGETS[name]
    read = 0
    for seed in target.seeds:
        with suppress(*target.refusals):
            target.parse(seed)
            read += 1
    assert read > 0
