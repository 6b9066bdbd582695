"""Reads `metrics.jsonl`: one JSON object for each step, whose numbers are metrics."""

import json

from fetchml.core.tracking import Point, key_fault
from fetchml.tracking.read_points import Reading, milliseconds

MAX_LINE = 64 << 10
"""Bytes of a line."""
_STEPS = ("step", "_step", "global_step", "epoch")
"""Names of the step; the first that a line has with a whole number."""
_TIMES = ("time", "timestamp", "_timestamp")
_MOST_STEP = (1 << 63) - 1


def read_lines(data: bytes, *, line: int, default_at: int, is_all: bool) -> Reading:
    """Read the whole lines at the beginning of `data`, which begins with line number `line`.

    `default_at`: time of a line that has none. `is_all`: nothing more will be written, so the last
    line needs no end.
    """
    points: list[Point] = []
    at = 0
    while at < len(data):
        end = data.find(b"\n", at, at + MAX_LINE + 1)
        if end < 0 and len(data) - at > MAX_LINE:
            return Reading(points, at, f"line {line} has more than {MAX_LINE} bytes")
        if end < 0:
            if not is_all:
                break
            end = len(data)
        text = data[at:end].strip()
        if text:
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                return Reading(points, at, f"line {line} is not a JSON object")
            points += _points(found, line, default_at)
        at, line = end + 1, line + 1
    return Reading(points, min(at, len(data)))


def _points(found: dict[str, object], line: int, default_at: int) -> list[Point]:
    at, step = default_at, line
    for name in _TIMES:
        if (given := milliseconds(found.get(name))) is not None:
            at = given
            del found[name]
            break
    for name in _STEPS:
        if (whole := _whole(found.get(name))) is not None:
            step = whole
            del found[name]
            break
    return [
        Point(name, float(value), at, step)
        for name, value in found.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, float) or abs(value) < 1 << 1000)
        and key_fault("metric", name) is None
    ]


def _whole(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST_STEP:
        return None
    return value
