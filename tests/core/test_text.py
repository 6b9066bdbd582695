"""Text from outside: what is a line, how anything is shown, what can be stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.events import Ended, Submitted
from fetchml.core.model import AttemptEnd
from fetchml.core.requests import text
from tests.support.tasks import task

anything = st.text(alphabet=st.characters(exclude_categories=()))


@pytest.mark.parametrize("value", ["", "plain", "Zoë", "机器学习", "👩‍🔬 run 1", "a\u200cb"])
def test_line_may_hold_any_script(value: str) -> None:
    assert text.line_fault(value) is None


@pytest.mark.parametrize(
    "value", ["a\n", "\r", "\t", "\0", "\x1b[0m", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"]
)
def test_control_characters_are_no_line(value: str) -> None:
    assert text.line_fault(value) is not None


@given(anything, st.integers(1, 40))
def test_shown_text_is_a_bounded_printable_line(value: str, limit: int) -> None:
    shown = text.shown(value, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert text.line_fault(shown) is None


def test_printable_text_is_shown_unchanged() -> None:
    assert text.shown("as it is: é", 20) == "as it is: é"
    assert text.shown("a\nb\u202e", 20) == r"a\nb\u202e"
    assert text.shown("abcdef", 4) == "abc…"


@given(anything)
def test_valid_text_is_unchanged(value: str) -> None:
    valid = text.valid(value)
    assert text.is_valid(valid)
    assert valid == value if text.is_valid(value) else len(valid) == len(value)


def test_text_of_events_is_made_valid() -> None:
    end = AttemptEnd(at=1, lost="no \udcff")
    assert text.storable(Ended(1, "t", 1, end)).end.lost == "no \N{REPLACEMENT CHARACTER}"
    event = Submitted(1, [task(command=("run", "\ud800"), env={"A": "\ud800"})])
    assert text.storable(event) is not event
    mended = text.storable(event)
    assert text.storable(mended) is mended
    assert mended.tasks[0].spec.command == ("run", "\N{REPLACEMENT CHARACTER}")
    assert text.storable(mended) is mended


def test_nearest_name_is_one_that_is_like_it() -> None:
    known = {"priority", "preemptible", "image"}
    assert text.nearest("prioritty", known) == "priority"
    assert text.nearest("imxxe", known) == "image"
    assert text.nearest("imxxe", known, least=0.7) is None
    assert text.nearest("zzz", known) is None
    cut = "priority" + "y" * (text.MAX_COMPARED - 8)
    assert text.nearest(cut + "z" * 1_000_000, {cut}) == cut
