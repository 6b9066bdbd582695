"""The differences that the core finds."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchml.core import comparison
from fetchml.core.comparison import Outcome
from fetchml.core.model import RanWith, UsedDataset
from tests.support.tasks import task as task_of

LINES = st.lists(st.sampled_from(["a", "b", "", "é\r", "\u2028"]), max_size=30)


@settings(max_examples=40, deadline=None)
@given(before=LINES, after=LINES, ends=st.sampled_from(["", "\n"]))
def test_patch_makes_the_second_text_of_the_first(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str], ends: str
) -> None:
    folder = tmp_path_factory.mktemp("patch")
    old, new = (("\n".join(lines) + ends).encode() for lines in (before, after))
    (folder / "file").write_bytes(old)
    diff, note = comparison.text_diff(old, new)
    assert diff is not None, note
    patch = f"--- file\n+++ file\n{diff}"
    if diff:
        command = ["patch", "--binary", "--force", "--fuzz=0", "file"]
        subprocess.run(command, cwd=folder, input=patch.encode(), check=True, capture_output=True)
    made = folder / "file"
    assert (made.read_bytes() if made.exists() else b"") == new


def test_only_the_part_that_differs_counts() -> None:
    same = "".join(f"{n}\n" for n in range(20_000))
    diff, note = comparison.text_diff(f"{same}old\n{same}".encode(), f"{same}new\n{same}".encode())
    assert note is None
    assert "@@ -19998,7 +19998,7 @@" in str(diff)
    assert comparison.text_diff(b"", same.encode()) == (None, "more than 2000 lines apart")
    assert comparison.text_diff(b"\0", b"a") == (None, "binary")
    assert comparison.text_diff(b"\xff", b"a") == (None, "binary")


def test_what_is_not_recorded_is_not_identical() -> None:
    old = task_of("old", datasets=("digits",))
    assert comparison.data(old, old).outcome is Outcome.UNKNOWN
    assert comparison.image(old, old).outcome is Outcome.UNKNOWN
    assert comparison.hardware(old, old).outcome is Outcome.UNKNOWN
    too_many = task_of(
        "a", datasets=("digits",), ran_with=RanWith(1, datasets=(UsedDataset("digits"),))
    )
    assert comparison.data(too_many, too_many).outcome is Outcome.UNKNOWN


def test_other_image_behind_the_same_name() -> None:
    one, other = (
        task_of(
            name, ran_with=RanWith(1, image_id=f"sha256:{name}", image_digest=f"app@sha256:{name}")
        )
        for name in ("a", "b")
    )
    assert comparison.image(one, one).outcome is Outcome.IDENTICAL
    [change] = comparison.image(one, other).changes
    assert (change.before, change.after) == ("app@sha256:a", "app@sha256:b")
