"""What a request for an experiment must be."""

import pytest

from fetchml.core.requests.checks import Violation, read
from fetchml.core.requests.experiment import KNOWN_FIELDS, ExperimentRequest

LONGEST = {"name": "\N{ROCKET}" * 128, "description": "d" * 4096, "commit_id": "c" * 256}


def violations(request: dict[str, object]) -> list[Violation]:
    return read(request, ExperimentRequest)[1]


@pytest.mark.parametrize("request_", [{"name": "a"}, {**LONGEST}, {"name": "a b/c", "other": None}])
def test_what_is_accepted(request_: dict[str, object]) -> None:
    assert violations(request_) == []


def test_every_broken_rule_is_named() -> None:
    assert {*LONGEST} == KNOWN_FIELDS
    assert violations({}) == [Violation("name", "is required")]
    assert violations({name: f"{value}x" for name, value in LONGEST.items()}) == [
        Violation("name", "must not be longer than 128 characters"),
        Violation("description", "must not be longer than 4096 characters"),
        Violation("commit_id", "must not be longer than 256 characters"),
    ]
    assert violations({"name": "", "description": 1, "commit_id": None}) == [
        Violation("name", "must not be empty"),
        Violation("description", "must be a string"),
        Violation("commit_id", "must not be null: leave it out"),
    ]
    assert violations({"name": "a\0"}) == [Violation("name", "must not hold a NUL character")]
