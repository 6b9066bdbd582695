"""The lint of words finds them in prose, and in prose only."""

from pathlib import Path

import pytest

from build.words import advice, docstrings, findings, openings, unclear


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What a task used.", ["What"]),
        ("Who has used it, by key.", ["Who"]),
        ("The scheduler sees it, and tells the user.", ["sees", "tells"]),
        ("Return why a task may not start. `says`: the name.", []),
    ],
)
def test_docstrings_begin_with_no_question_and_make_no_person(text: str, found: list[str]) -> None:
    assert [word for word, _ in unclear(text)] == found


def test_docstrings_of_attributes_are_read() -> None:
    source = '"""M."""\n\nclass A:\n    """A."""\n    b: int\n    """B."""\n    c = lambda: "no"\n'
    assert list(docstrings(source)) == [(1, "M."), (4, "A."), (6, "B.")]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.proto", "  // How it ended.\n  // Who knows.\n  int32 a = 1;\n", [(1, "How")]),
        ("a.yaml", "a:\n  summary: 'Why it waits'\n  description: Some text\n", [(2, "Why")]),
        ("a.md", "// What\n", []),
    ],
)
def test_comments_of_the_api_begin_with_no_question(
    name: str, text: str, found: list[tuple[int, str]]
) -> None:
    assert list(openings(Path(name), text)) == found


def test_every_listed_word_has_advice() -> None:
    assert advice("Told").startswith("report")
