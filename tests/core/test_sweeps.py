"""Requests for sweeps: their values, their combinations, and the requests of their tasks."""

import math
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fetchml.core.requests import shell_words
from fetchml.core.sweeps.definition import MAX_VALUES, Definition, read
from fetchml.core.sweeps.search_space import (
    MAX_TASKS,
    Axis,
    Choices,
    Draw,
    drawn,
    fraction,
    read_axis,
)
from fetchml.core.sweeps.tasks import Expansion, Template
from tests.support import tasks

TASK = {"job_name": "job"}


def definition(parameters: object, **fields: object) -> Definition:
    found = read({"task": TASK, "parameters": parameters, **fields})
    assert isinstance(found, Definition), found
    return found


def rules(parameters: object, **fields: object) -> dict[str, str]:
    """The violations of a request, by field."""
    found = read({"task": TASK, "parameters": parameters, **fields})
    assert isinstance(found, list), "it is valid"
    return dict(found)


@pytest.mark.parametrize(
    ("described", "texts"),
    [
        ({"values": [0.1, 0.2]}, ("0.1", "0.2")),
        (
            {"values": ["a b", True, False, 3, 3.0, 1e-05]},
            ("a b", "true", "false", "3", "3", "1e-05"),
        ),
        ({"values": [""]}, ("",)),
        ({"range": [1, 5]}, ("1", "2", "3", "4", "5")),
        ({"range": [1, 1]}, ("1",)),
        ({"range": [5, 1, -2]}, ("5", "3", "1")),
        ({"range": [1, 4, 2]}, ("1", "3")),
        ({"range": [0, 0.3, 0.1]}, ("0", "0.1", "0.2", "0.3")),
        ({"range": [1e20, 1e20]}, ("1e+20",)),
    ],
)
def test_values_become_texts(described: object, texts: tuple[str, ...]) -> None:
    found = read_axis(described)
    assert isinstance(found, Choices)
    assert found.texts == texts


@pytest.mark.parametrize(
    ("described", "fault"),
    [
        ([], "must be an object"),
        ({}, "exactly one of"),
        ({"values": "0.1"}, "must be a list"),
        ({"values": [1] * (MAX_TASKS + 1)}, "1 to 10000 items"),
        ({"values": [None]}, "item 0 must be a string"),
        ({"values": [1, [2]]}, "item 1 must be a string"),
        ({"values": [2**60]}, "item 0 must be"),
        ({"values": [math.nan]}, "item 0 must be"),
        ({"values": ["a\0b"]}, "NUL"),
        ({"values": ["\ud800"]}, "Unicode"),
        ({"values": ["x" * 1025]}, "not be longer"),
        ({"range": [1, 2, 1, 1]}, "[first, last]"),
        ({"range": [1, 5, 0]}, "a step that leads"),
        ({"range": [5, 1]}, "a step that leads"),
        ({"range": [0, 1, 1e-9]}, "more than 10000"),
        ({"range": [-1e308, 1e308]}, "more than 10000"),
        ({"range": [True, 2]}, "finite numbers"),
        ({"range": [0, math.inf]}, "finite numbers"),
        ({"uniform": [1, 1]}, "low below high"),
        ({"uniform": [0]}, "low below high"),
        ({"log_uniform": [0, 1]}, "above 0"),
    ],
)
def test_faults_of_values_name_the_rule(described: object, fault: str) -> None:
    found = read_axis(described)
    assert isinstance(found, str)
    assert fault in found


def test_grid_has_every_combination_and_the_last_name_changes_fastest() -> None:
    grid = definition({"seed": {"range": [1, 2]}, "lr": {"values": ["a", "b", "c"]}})
    assert grid.total == 6
    assert [tuple(grid.parameters(index).items()) for index in range(3)] == [
        (("lr", "a"), ("seed", "1")),
        (("lr", "a"), ("seed", "2")),
        (("lr", "b"), ("seed", "1")),
    ]
    every = {tuple(grid.parameters(index).values()) for index in range(6)}
    assert every == {(lr, seed) for lr in "abc" for seed in "12"}


def test_zip_takes_the_values_of_one_position() -> None:
    zipped = definition({"a": {"range": [1, 3]}, "b": {"values": ["x", "y", "z"]}}, mode="zip")
    assert [zipped.parameters(index) for index in range(zipped.total)] == [
        {"a": "1", "b": "x"},
        {"a": "2", "b": "y"},
        {"a": "3", "b": "z"},
    ]


def test_draws_are_the_same_on_every_machine() -> None:
    """These numbers are a promise: a seed in somebody's notes gives them for ever."""
    found = definition(
        {
            "lr": {"log_uniform": [1e-5, 1]},
            "x": {"uniform": [-1, 1]},
            "layers": {"values": [2, 4, 8]},
        },
        mode="random",
        samples=2,
        random_seed=7,
    )
    drawn = found.drawn(7, range(2))
    assert [found.parameters(index, drawn[3 * index :][:3]) for index in range(2)] == [
        {"layers": "8", "lr": "0.0457596822", "x": "-0.028943392"},
        {"layers": "2", "lr": "0.34158617", "x": "-0.0974636263"},
    ]
    more = definition({"x": {"uniform": [-1, 1]}}, mode="random", samples=9)
    assert more.parameters(0, more.drawn(7, range(1)))["x"] == "-0.028943392"


@given(
    low=st.floats(1e-300, 1e300), factor=st.floats(1.001, 1e6), at=st.floats(0, 1, exclude_max=True)
)
def test_draws_stay_within_their_bounds(low: float, factor: float, at: float) -> None:
    for is_log in (False, True):
        draw = Draw(low, low * factor, is_log)
        assert draw.low <= float(drawn(draw, at)) <= draw.high


def test_draws_are_spread_over_the_whole_range() -> None:
    drawn_parts = [0] * 10
    for index in range(2000):
        drawn_parts[int(fraction(1, "lr", index) * 10)] += 1
    assert min(drawn_parts) > 140


@pytest.mark.parametrize(
    ("parameters", "fields", "field", "fault"),
    [
        ({}, {}, "parameters", "1 to 32"),
        ({f"p{n}": {"values": [1]} for n in range(33)}, {}, "parameters", "1 to 32"),
        ([], {}, "parameters", "an object"),
        ({"1a": {"values": [1]}}, {}, "parameters.1a", "not begin with a digit"),
        ({"a-b": {"values": [1]}}, {}, "parameters.a-b", "letters, digits"),
        ({"lr": {"values": [1]}, "LR": {"values": [1]}}, {}, "parameters.LR", "as lr does"),
        ({"lr": None}, {}, "parameters.lr", "null"),
        (
            {"a": {"range": [1, 200]}, "b": {"range": [1, 200]}},
            {},
            "parameters",
            "200 x 200 = 40000",
        ),
        (
            {"a": {"range": [1, 2]}, "b": {"range": [1, 3]}},
            {"mode": "zip"},
            "parameters",
            "a has 2, b",
        ),
        ({"a": {"uniform": [0, 1]}}, {}, "parameters.a", "needs mode random"),
        ({"a": {"range": [1, 2]}}, {"mode": "random"}, "samples", "required"),
        ({"a": {"range": [1, 2]}}, {"samples": 4}, "samples", "only for mode random"),
        ({"a": {"range": [1, 2]}}, {"random_seed": 4}, "random_seed", "only for mode random"),
        ({"a": {"range": [1, 2]}}, {"mode": "rnd"}, "mode", "grid, zip, random"),
        ({"a": {"range": [1, 2]}}, {"mode": "random", "samples": 10_001}, "samples", "10000"),
        ({"a": {"range": [1, 2]}}, {"max_parallel": -1}, "max_parallel", "between"),
        ({"a": {"range": [1, 2]}}, {"name": "a\nb"}, "name", "line breaks"),
        ({"a": {"range": [1, 2]}}, {"task": []}, "task", "an object"),
        (
            {name: {"range": [1, 9000]} for name in "abc"},
            {"mode": "zip"},
            "parameters",
            f"more than {MAX_VALUES} values",
        ),
    ],
)
def test_faults_name_parameter_and_rule(
    parameters: object, fields: dict[str, object], field: str, fault: str
) -> None:
    assert fault in rules(parameters, **fields)[field]


def expanded(task: dict[str, Any], parameters: object, **fields: object) -> list[tuple[str, ...]]:
    """The argument vectors of all tasks."""
    found = read({"task": {**TASK, **task}, "parameters": parameters, **fields})
    assert isinstance(found, Definition)
    expansion = Expansion(found, "s", 0)
    assert expansion.violations() == []
    request = expansion.first_request()
    known = {name: request[name] for name in ("args", "env") if name in request}
    command = request.get("command", ["run"])
    assert isinstance(command, list)
    first = tasks.spec(**known, command=tuple(command))
    return [each.spec.argv for each in expansion.specs(first, (), found.total)]


def test_placeholders_are_filled_in_words_of_command_and_args() -> None:
    task = {
        "command": ["python", "--lr={lr}"],
        "args": "--lr {lr} 'x {lr}' --json {\"a\":1} ${{lr}}",
    }
    assert expanded(task, {"lr": {"values": [0.1, "it's two"]}}) == [
        ("python", "--lr=0.1", "--lr", "0.1", "x 0.1", "--json", "{a:1}", "${lr}"),
        ("python", "--lr=it's two", "--lr", "it's two", "x it's two", "--json", "{a:1}", "${lr}"),
    ]


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_no_value_becomes_a_second_word(value: str) -> None:
    filled = Template({"args": "a {x} 'b {x}' c"}).filled({"x": value})
    assert shell_words.split(str(filled["args"])) == ["a", value, f"b {value}", "c"]


def test_unknown_placeholders_are_named() -> None:
    found = read({"task": {"args": "{lrr} {lr} {seed}"}, "parameters": {"lr": {"values": [1]}}})
    assert isinstance(found, Definition)
    [violation] = Expansion(found, "s", 0).violations()
    assert violation.field == "task.args"
    assert "{lrr}, {seed}, but the parameters are lr" in violation.rule


def test_values_are_described_in_one_short_line() -> None:
    found = definition(
        {
            "few": {"values": ["a", "b"]},
            "many": {"range": [1, 50]},
            "long": {"values": ["x" * 1000] * 100},
        },
        mode="grid",
    )
    assert found.described["few"] == "a, b"
    assert found.described["many"] == "1, 2 … 50"
    assert len(found.described["long"]) <= 120
    assert "(100 values)" in found.described["long"]


def test_ranges_beyond_the_limit_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of a kilobyte would hold the event loop for a third of a second."""
    read_ones: list[object] = []

    def counted(given: object) -> Axis | str:
        read_ones.append(given)
        return read_axis(given)

    monkeypatch.setattr("fetchml.core.sweeps.definition.read_axis", counted)
    found = rules({f"p{number}": {"range": [1, MAX_TASKS]} for number in range(32)})
    assert found == {"parameters": f"must not have more than {MAX_VALUES} values in all"}
    assert len(read_ones) == 3
