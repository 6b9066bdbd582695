"""Secrets: what the command gets, and what its log does not show."""

import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fetchml.core.model import SecretForm, SecretUse
from fetchml.files import secrets_file
from tests.shim.attempt import Attempt, run
from tests.support.waiting import SECONDS

VALUE = "hunter2-and-more"


def with_secrets(
    attempt: Attempt,
    *command: str,
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> list[str]:
    """The shim's command line, with these secrets in the attempt's folder."""
    root = attempt.folder.parent
    folder = secrets_file.make_folder(root)
    uses = [(SecretUse(name), value) for name, value in (env or {}).items()]
    uses += [(SecretUse(name, SecretForm.FILE), value) for name, value in (files or {}).items()]
    content = secrets_file.encode((use, value.encode()) for use, value in uses)
    secrets_file.write(root, content, None, None)
    argv = attempt.argv(*command)
    at = argv.index("--")
    return [*argv[:at], "--secrets", str(folder), *argv[at:]]


def test_variables_and_files(attempt: Attempt) -> None:
    folder = attempt.folder.parent / "secrets"
    script = (
        'test "$A" = "$EXPECTED" && echo same; cd "$1"; stat -c "%n %a" *; wc -c <KEY; '
        "ls -A ../run | grep -x secrets; true"
    )
    value = "one line\nanother line\n"
    argv = with_secrets(
        attempt, "sh", "-c", script, "sh", str(folder), env={"A": value}, files={"KEY": value}
    )
    assert run(argv, {"PATH": "/usr/bin:/bin", "EXPECTED": value}) == 0
    assert attempt.log() == f"same\nKEY 400\n{len(value)}\n"
    # Nothing is left of either.
    assert list(folder.iterdir()) == []
    assert not (attempt.folder / "secrets").exists()


def test_variable_replaces_an_inherited_one(attempt: Attempt) -> None:
    argv = with_secrets(attempt, "sh", "-c", 'test "$A" = new', env={"A": "new"})
    assert run(argv, {"PATH": "/usr/bin:/bin", "A": "old"}) == 0


def test_printed_value_is_hidden(attempt: Attempt) -> None:
    script = 'echo "a $A b" >&2; echo $A$A; echo "$B"; cat "$1/C"; printf %s "$A"'
    argv = with_secrets(
        attempt, "sh", "-c", script, "sh", str(attempt.folder.parent / "secrets"),
        env={"A": VALUE, "B": "short"},
        files={"C": "line 1 of 2\nline 2 of 2\n"},
    )  # fmt: skip
    assert run(argv) == 0
    assert attempt.log() == "a *** b\n***\nshort\n***\n***"
    assert attempt.end()["log_bytes"] == str(len(attempt.log()))


def test_value_in_pieces_is_hidden(attempt: Attempt) -> None:
    script = (
        "import os, sys; a = os.environ['A']\n"
        "for piece in ('x', *a, 'y', a[:5], '\\n'): os.write(1, piece.encode())\n"
        "os.write(1, b'z' * 65530 + a.encode() + b'z' * 65530 + a[:-1].encode())"
    )
    argv = with_secrets(attempt, sys.executable, "-ISc", script, env={"A": VALUE})
    assert run(argv) == 0
    many = "z" * 65_530
    assert attempt.log() == f"x***y{VALUE[:5]}\n{many}***{many}{VALUE[:-1]}"


def redacted(text: bytes, values: list[bytes]) -> bytes:
    """Every run of bytes that belong to a value, replaced by three stars."""
    hidden = bytearray(len(text))
    for value in values:
        at = text.find(value)
        while at >= 0:
            hidden[at : at + len(value)] = b"\1" * len(value)
            at = text.find(value, at + 1)
    shown, before = bytearray(), 0
    for byte, is_hidden in zip(text, hidden, strict=True):
        if not is_hidden:
            shown.append(byte)
        elif not before:
            shown += b"***"
        before = is_hidden
    return bytes(shown)


@pytest.mark.parametrize("seed", range(6))
def test_overlapping_values(attempt: Attempt, seed: int) -> None:
    """Values and output of few letters: parts of one value begin another."""
    dice = random.Random(seed)  # noqa: S311
    values = ["".join(dice.choices("ab", k=dice.randint(8, 12))) for _ in range(4)]
    text = "".join(dice.choice(("a", "b", "ab", *values)) for _ in range(2_000))
    pieces = [text[at : at + 37] for at in range(0, len(text), 37)]
    script = "import os, sys\nfor line in sys.stdin: os.write(1, line.strip().encode())"
    source = attempt.folder.parent / "pieces"
    source.write_text("\n".join(pieces))
    argv = with_secrets(
        attempt, "sh", "-c", f"exec {sys.executable} -ISc '{script}' <{source}",
        env={f"V{n}": value for n, value in enumerate(values)},
    )  # fmt: skip
    assert run(argv) == 0
    assert attempt.log().encode() == redacted(text.encode(), [v.encode() for v in values])


def test_value_of_one_letter_costs_no_time(attempt: Attempt) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' a"
    assert run(with_secrets(attempt, "sh", "-c", script, env={"A": "a" * 65_536})) == 0
    assert attempt.log() == "***"


def test_missing_secrets_fail_the_start(attempt: Attempt) -> None:
    argv = with_secrets(attempt, "touch", str(attempt.folder / "ran"), env={"A": VALUE})
    (attempt.folder / "secrets").unlink()
    assert run(argv) == 127
    assert attempt.end()["error"] == "cannot take the secrets: No such file or directory"
    assert not (attempt.folder / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"e A 5\nabc\n",
        b"e A -1\nabc\n",
        b"x",
        b"e A 3 abc\n",
        b"f ../A 3\nabc\n",
        b"e A 99999999\n",
    ],
)
def test_malformed_file_fails_the_start(attempt: Attempt, content: bytes) -> None:
    argv = with_secrets(attempt, "touch", str(attempt.folder / "ran"))
    secrets_file.write(attempt.folder.parent, content, None, None)
    assert run(argv) != 0
    assert "error" in attempt.end()
    assert not (attempt.folder / "ran").exists()
    assert "A" not in {path.name for path in attempt.folder.parent.iterdir()}


def test_values_are_in_no_command_line_or_environment_of_the_shim(attempt: Attempt) -> None:
    argv = with_secrets(attempt, "sleep", "60", env={"A": VALUE})
    with subprocess.Popen(argv) as shim:
        try:
            while not (attempt.folder / "started").exists():
                assert shim.poll() is None
            proc = Path(f"/proc/{shim.pid}")
            assert VALUE.encode() not in (proc / "cmdline").read_bytes()
            assert VALUE.encode() not in (proc / "environ").read_bytes()
        finally:
            shim.terminate()
            shim.wait(SECONDS)
