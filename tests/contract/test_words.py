"""The lint of the documentation's words finds them in prose, and in prose only."""

import pytest

from build.words import advice, findings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The server tells its state.", [(1, "tells")]),
        ("First line.\n\nWho has waited long goes first.", [(3, "Who")]),
        ("What is few\nneeds no journal.", [(1, "What is")]),
        ("People who share a workspace trust each other.", []),
        ("Run `fetchml say` now.\n\n```\nwho am I\n```\n", []),
        ("See [the page](who.md).", []),
        ("It reports its state.", []),
    ],
)
def test_listed_words_are_found_outside_of_code(text: str, found: list[tuple[int, str]]) -> None:
    assert list(findings(text)) == found


def test_every_listed_word_has_advice() -> None:
    assert advice("Told").startswith("report")
