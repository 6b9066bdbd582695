"""No reply of a server steers the terminal of the command line."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from rich.console import Group
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.color import Color

from fetchml.cli.live.app import TopApp
from fetchml.cli.printable import guarded, printable
from fetchml.cli.render import PlainConsole
from fetchml.cli.targets import Target
from tests.hostile.hostile_replies import HOSTILE, NOT_SHOWN, hostile_server
from tests.support.cli_server import environment, run
from tests.support.preloaded import FETCHML, Program

ID = "0198c0de-0000-7000-8000-00000000abcd"
LISTS = (
    "ls",
    "audit",
    "gpus",
    "env ls",
    "experiment ls",
    "jupyter ls",
    "keys ls --server",
    "notifications ls",
    "reservations ls",
    "secret ls",
    "snapshot ls",
    "storage",
    "sweep ls",
)
"""Commands with the option `-o`."""
READS = (
    "usage",
    "top",
    f"show {ID}",
    f"explain {ID}",
    f"watch {ID}",
    f"outputs {ID}",
    f"experiment show {ID}",
    f"experiment compare {ID}",
    f"jupyter show {ID}",
    f"snapshot show {'f' * 64}",
    f"sweep show {ID}",
    f"sweep best {ID} --metric loss",
    "notifications set",
    "queue",
)
CHANGES = (
    f"cancel {ID}",
    f"hold {ID}",
    f"label {ID} a=b",
    f"notify {ID} http://a.invalid/",
    f"priority {ID} 1",
    f"release {ID}",
    f"retry {ID}",
    f"start-after {ID} +2h",
    f"timeout {ID} 2h",
    "experiment create a",
    f"jupyter stop {ID}",
    "jupyter start",
    "reserve 0 --user ada --to +2h",
    "submit -- true",
    "sweep create -p n=1 -- true",
)
ON_TERMINAL = ("ls", "gpus", "audit", f"show {ID}", f"watch {ID}", f"cancel {ID}", "sweep ls")
OWN = re.compile(r"\x1b\[[0-9;]*[mKAGF]|\x1b\[\?25[lh]|\x1b\[1A|\x1b\[2K")
"""What tables and colours of the command line itself have: styles, lines that are drawn again."""


@pytest.fixture(scope="module")
def hostile() -> Iterator[dict[str, str]]:
    with hostile_server() as address:
        yield variables(address)


@pytest.fixture(scope="module")
def failing() -> Iterator[dict[str, str]]:
    with hostile_server(fails=True) as address:
        yield variables(address)


def variables(address: str) -> dict[str, str]:
    return {"FETCHML_SERVER": address, "FETCHML_API_KEY": "key"}


def steers(text: str) -> set[str]:
    """Return the characters that steer a terminal or hide text."""
    return {c for c in text if c in NOT_SHOWN or c == "\x1b"}


def words(command: str, answering: dict[str, str]) -> list[str]:
    address = [answering["FETCHML_SERVER"]] if command.endswith("--server") else []
    return [*command.split(), *address]


@pytest.mark.slow
@pytest.mark.parametrize("command", [*LISTS, *READS, *CHANGES])
def test_output_holds_no_escape_sequence(
    hostile: dict[str, str], failing: dict[str, str], command: str
) -> None:
    shown = 0
    for answering in (hostile, failing):
        done = run(*words(command, answering), **answering)
        assert "Traceback" not in done.err
        assert steers(done.out + done.err) == set()
        shown += (done.out + done.err).count("\\x1b") + (done.out + done.err).count("\\u202e")
    assert shown, "the text of the server is shown, escaped"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ls", "audit", "storage", "sweep ls"])
def test_formats_of_lists(hostile: dict[str, str], command: str) -> None:
    for output in ("json", "name", "wide"):
        done = run(*words(command, hostile), "-o", output, **hostile)
        assert steers(done.out + done.err) == set(), output
        if output == "json":
            assert HOSTILE in texts(json.loads(done.succeeded()))


def texts(value: object) -> set[str]:
    """Return all text in a JSON value."""
    if isinstance(value, dict):
        return texts([*value.keys(), *value.values()])
    if isinstance(value, list):
        return set[str]().union(*map(texts, value))
    return {value} if isinstance(value, str) else set()


def test_json_of_a_task_is_the_servers(hostile: dict[str, str]) -> None:
    done = run("show", ID, "--json", **hostile)
    assert steers(done.out) == set()
    assert json.loads(done.out)["job_name"] == HOSTILE


def test_template(hostile: dict[str, str]) -> None:
    done = run("ls", "-o", "template={id}\\t{job_name}", **hostile)
    assert steers(done.succeeded()) == set()


def test_logs_are_the_tasks_own_bytes(hostile: dict[str, str]) -> None:
    """As those of `docker logs`: a log may be a picture, or a progress bar."""
    assert HOSTILE.replace("\r", "\n") in run("logs", ID, **hostile).out.replace("\r", "\n")


@pytest.mark.parametrize("command", ON_TERMINAL)
def test_terminal_gets_only_the_programs_own_sequences(
    hostile: dict[str, str], failing: dict[str, str], command: str
) -> None:
    for answering in (hostile, failing):
        shown = on_terminal(command, answering)
        assert "\x1b[" in shown or command.startswith("cancel"), "it has colours"
        assert steers(OWN.sub("", re.sub(r"\r(?=[\n\x1b])", "", shown))) == set()


def on_terminal(command: str, answering: dict[str, str]) -> str:
    """Return all that a command writes on a terminal with colours."""
    given = environment(TERM="xterm-256color", **answering)
    del given["NO_COLOR"]
    ours, theirs = pty.openpty()
    try:
        program = Program([*FETCHML, *command.split()], given, stdout=theirs, stderr=theirs)
    finally:
        os.close(theirs)
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, suppress(OSError):  # EIO at its end
        while piece := terminal.read(65_536):
            written += piece
    program.wait()
    return written.decode()


def test_text_is_escaped_as_in_python() -> None:
    assert printable("é \U0001f600") == "é \U0001f600"
    assert printable("\x1b[2J\x9b\u202e\U000e0041\n") == r"\x1b[2J\x9b\u202e\U000e0041\n"
    assert steers(printable(HOSTILE)) == set()
    assert printable("a\nb\tc\r", "\n\t") == "a\nb\tc\\r"
    assert printable("a\xa0b\u3000c\u202fd") == "a\xa0b\u3000c\u202fd", "blanks"


def test_click_escapes_where_the_terminal_has_only_ascii() -> None:
    """It writes past a stream whose encoding is ASCII, to one of its own."""
    program = (
        "import sys, click; from fetchml.cli.printable import guarded;"
        "sys.stdout = guarded(sys.stdout); click.echo('a\\x07b\\x9bc\\xe9')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONIOENCODING": "ascii", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == "a\\x07b\\x9bc\xe9\n"


def test_console_takes_text_literally() -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, width=500, color_system="truecolor")
    linked = Text("l", "link http://a.invalid")
    console.print(Group(HOSTILE, Text(HOSTILE, "red"), linked), Text.from_ansi(HOSTILE))
    assert steers(OWN.sub("", out.getvalue())) == set()
    assert "[/bold][link=x]h" in out.getvalue()
    assert "a.invalid\x1b" not in out.getvalue()


def test_live_table_redraws_through_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich replaces the streams meanwhile: its own sequences must not be escaped then."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", guarded(out))
    console = PlainConsole(force_terminal=True, width=80, color_system="truecolor")
    with Live(Text("a", "red"), console=console, auto_refresh=False) as live:
        print("\x1b]0;title\x07below")
        live.update(Text(HOSTILE), refresh=True)
    assert "\\x1b[31m" not in out.getvalue()
    assert "\x1b[31m" in out.getvalue()
    assert steers(OWN.sub("", out.getvalue()).replace("\r", "")) == set()


def test_screen_of_top_filters_each_line() -> None:
    first, *_ = TopApp(Target("127.0.0.1:1", "key")).get_line_filters()
    link = Style(color="red", link="http://a.invalid")
    [line] = first.apply([Segment(HOSTILE, link)], Color(0, 0, 0))
    assert steers(line.text) == set()
    assert line.style == Style(color="red")
    assert line.style is not None
    assert line.style.link is None
