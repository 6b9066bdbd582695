"""The splitter of `args` against the standard library's, which it must equal."""

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fetchml.core.requests import shell_words

TEXTS = st.text(st.sampled_from("ab '\"\\\t\r\n\v\xa0#;|&$`é😀\0"), max_size=40) | st.text()


def split_or_fault(text: str) -> list[str] | str:
    try:
        return shlex.split(text)
    except ValueError as error:
        return str(error).lower()


@given(text=TEXTS)
@example(text="")
@example(text="''")
@example(text="a''b \"\" ''")
@example(text='"a\\')
@example(text='"a\\"')
@example(text='"a\\\\')
@example(text="'a\\")
@example(text="a\\")
@example(text='"\\a\\"\\\\\\\n"')
@example(text="a\\\nb")
def test_words_and_faults_equal_those_of_shlex(text: str) -> None:
    expected = split_or_fault(text)
    if isinstance(expected, str):
        assert shell_words.fault(text) == expected
        with pytest.raises(ValueError, match=expected):
            shell_words.split(text)
    else:
        assert shell_words.fault(text) is None
        assert shell_words.split(text) == expected
