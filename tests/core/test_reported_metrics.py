"""The numbers of metrics.json, whatever a task writes."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.reported_metrics import MAX_METRICS, MAX_METRICS_BYTES, metrics_in


@pytest.mark.parametrize(
    ("content", "metrics"),
    [
        (b'{"loss": 0.5, "epochs": 3}', {"loss": 0.5, "epochs": 3}),
        (b'{"a": NaN, "b": Infinity, "c": 1e400, "d": 1}', {"d": 1}),
        (b'{"a": true, "b": null, "c": "1", "d": [1], "e": {"f": 1}}', {}),
        (b'{"a": ' + b"9" * 400 + b"}", {}),
        (b'{"a": 9007199254740993}', {"a": 9007199254740992.0}),
        (b'{"\\ud800": 1, "' + b"x" * 129 + b'": 2, "ok": 3}', {"ok": 3}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[1]", {}),
        (b"", {}),
        (b"\xff", {}),
        (b"[" * 60_000, {}),
        (b'{"a": ' + b"9" * 10_000 + b', "b": 1}', {}),
        (b"1", {}),
        (b" " * MAX_METRICS_BYTES + b'{"a": 1}', {}),
    ],
)
def test_only_finite_numbers_of_a_flat_object_count(
    content: bytes, metrics: dict[str, float]
) -> None:
    assert metrics_in(content) == metrics


def test_number_of_metrics_is_bounded() -> None:
    many = {f"m{number}": number for number in range(1_000)}
    found = metrics_in(json.dumps(many).encode())
    assert found == {f"m{number}": number for number in range(MAX_METRICS)}


@given(st.dictionaries(st.text(), st.integers() | st.floats() | st.text()))
def test_what_is_found_can_be_sent(content: dict[str, object]) -> None:
    found = metrics_in(json.dumps(content).encode())
    msgspec.json.encode(found)
    assert all(math.isfinite(float(value)) for value in found.values())
