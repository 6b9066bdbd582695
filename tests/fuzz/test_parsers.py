"""Hypothesis against every parser of untrusted bytes (`targets.py`), as many inputs as
`budget.py` gives each.

Earlier findings are in `cases/TARGET/`, one file per input.
"""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzz.budget import CASES
from tests.fuzz.shapes import changed_json, messages
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS, fuzz

pytestmark = pytest.mark.slow

MAX_CHANGES = 6


@st.composite
def mutations(draw: st.DrawFn, target: Target) -> bytes:
    """A seed with pieces replaced, removed or added."""
    data = bytearray(draw(st.sampled_from(target.seeds)))
    piece = st.sampled_from(target.tokens) | st.binary(max_size=8)
    for _ in range(draw(st.integers(1, MAX_CHANGES))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 12))] = draw(piece)
    return bytes(data)


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    if target.message is not None:
        made = messages(target.message, target.seeds)
        return made | made.map(bytes) | mutations(target)
    if target.is_json:
        made = changed_json([json.loads(seed) for seed in target.seeds])
        return made | made.map(bytes) | mutations(target)
    made_of_tokens = st.lists(st.sampled_from(target.tokens) | st.binary(max_size=4), max_size=12)
    return mutations(target) | mutations(target) | made_of_tokens.map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
def test_parsers_raise_only_expected_errors(name: str) -> None:
    target = TARGETS[name]

    def parse(data: bytes) -> None:
        with suppress(*target.refusals):
            target.parse(data)

    fuzz(name, parse, inputs(target), target.share)


@pytest.mark.parametrize(
    "case",
    sorted(case for case in CASES.glob("*/*") if case.parent.name in TARGETS),
    ids=lambda case: f"{case.parent.name}/{case.name}",
)
def test_earlier_findings_stay_fixed(case: Path) -> None:
    target = TARGETS[case.parent.name]
    with suppress(*target.refusals):
        target.parse(case.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_valid_inputs(name: str) -> None:
    """Otherwise all examples would end at the first check."""
    target = TARGETS[name]
    read = 0
    for seed in target.seeds:
        with suppress(*target.refusals):
            target.parse(seed)
            read += 1
    assert read > 0
