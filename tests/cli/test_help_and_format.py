"""Help texts, values of options, and formatting, without a server."""

import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from fetchml.cli import jupyter, wait
from fetchml.cli.connect import RetryNotice, connected
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.ids import id_by_end
from fetchml.cli.main import COMMANDS, fetchml
from fetchml.cli.param_types import AfterParam, DatasetParam, Duration, KeyValue, StartTime
from fetchml.cli.port_forward import port_forward
from fetchml.cli.render import clean, counted, duration, size
from fetchml.cli.submit import given_fields, job_name
from fetchml.cli.tables import task_table
from fetchml.cli.wait import TerminalDisplay, outcome
from fetchml.client import JupyterServiceInfo, Unavailable, to_json
from fetchml.v1.key_pb2 import Key, ListKeysResponse
from fetchml.v1.task_pb2 import DatasetSpec, Dependency, Task, TaskExplanation, TaskOutput
from tests.support.commands import ran

NAMES = [name for section in COMMANDS.values() for name in section]


COLUMNS = 80


def helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The names of a command and of all commands in it, with their help at 80 columns."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            assert inner.help, name
            inside = click.Context(inner, context, info_name=name, terminal_width=COLUMNS)
            yield from helps(inner, inside)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return dict(helps(fetchml, click.Context(fetchml, info_name="fetchml", terminal_width=COLUMNS)))


def test_every_command_has_a_help_text(texts: dict[str, str]) -> None:
    assert {f"fetchml {name}" for name in NAMES} < texts.keys()
    assert [name for name, text in texts.items() if not text.startswith(f"Usage: {name}")] == []


def test_examples_keep_their_lines(texts: dict[str, str]) -> None:
    """A raw docstring has no mark of click's, which is a backspace: its lines would be joined."""
    assert [name for name, text in texts.items() if "\\b" in text] == []


def test_help_fits_80_columns(texts: dict[str, str]) -> None:
    lines = [line for text in texts.values() for line in text.splitlines()]
    assert [line for line in lines if len(line) > COLUMNS] == []


def test_every_option_has_a_help_text(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        options = text.partition("\nOptions:\n")[2].partition("\n\n")[0].split("\n  -")
        assert [each for each in options if not re.search(r"\S\s{2,}\S", each)] == [], name


def test_help_loads_no_command() -> None:
    """Help must appear at once."""
    code = (
        "import sys; from fetchml.cli.main import fetchml\n"
        "fetchml.main(['--help'], standalone_mode=False)\n"
        "print('LOADED', {'grpc', 'rich', 'duckdb', 'aiohttp'} & set(sys.modules))"
    )
    shown = ran([sys.executable, "-c", code], check=True)
    assert "LOADED set()" in shown.stdout
    assert "fetchml submit --wait" in shown.stdout
    assert all(f"  {name} " in shown.stdout for name in NAMES)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43_200), ("2d", 172_800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "1.5h", "h", "-1", "1w", "\u0661h", "999999999d"])
def test_a_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_one_of_a_kind_has_no_plural() -> None:
    assert [counted(n, "more task") for n in (0, 1, 2)] == [
        "0 more tasks",
        "1 more task",
        "2 more tasks",
    ]


@pytest.mark.parametrize(
    ("progress", "line"),
    [("", "train preparing"), ("copying the snapshot", "train preparing: copying the snapshot")],
)
def test_wait_repeats_no_status(progress: str, line: str) -> None:
    reason = f"It is being prepared: {progress or 'just begun'}."
    why = TaskExplanation(status=Task.preparing, reason=reason, progress=progress or None)
    client = Mock(explain=Mock(return_value=why))
    assert wait.status_line(client, Task(id="t", job_name="train"), moving=False) == line


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("9999999", "'9999999': a port is 1 to 65535"),
        ("70000:1", "'70000:1': a port is 1 to 65535"),
        ("8080:", "'8080:' is not PORT or LOCAL:PORT"),
        ("http", "'http' is not PORT or LOCAL:PORT"),
    ],
)
def test_wrong_port_is_named(given: str, fault: str) -> None:
    wrong = CliRunner().invoke(port_forward, ["task", given])
    assert wrong.exit_code == 2
    assert fault in wrong.output


def test_one_line_while_the_server_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("fetchml.cli.connect.time.monotonic", lambda: now)
    notice = RetryNotice()

    def lines(*words: str) -> list[str]:
        for each in words:
            notice(Unavailable(each))
        return capsys.readouterr().err.splitlines()

    assert lines("shutting down", "no server", "too late") == ["shutting down; retrying"]
    notice.restored()
    assert lines("no server", "no server") == ["no server; retrying"]
    for _ in range(100):
        now += 5
        assert lines("no server") == [], "however long it is away"
    now += 600
    assert lines("\x1b[2J") == ["\\x1b[2J; retrying"], "it was back meanwhile"


def test_one_line_while_the_end_of_a_service_is_awaited(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = JupyterServiceInfo(id="a", reason="Jupyter exited with code 1")
    with_words = JupyterServiceInfo(id="a", reason="Jupyter exited with code 1: no space")
    client = Mock(get_jupyter=Mock(side_effect=[*[Unavailable("no server")] * 3, with_words]))
    monkeypatch.setattr(jupyter, "POLL_SECONDS", 0)
    assert jupyter._with_last_words(client, ended, RetryNotice()) == with_words
    assert capsys.readouterr().err.splitlines() == ["no server; retrying"]


IDS = ["0198c0de-0000-7000-8000-00000000abcd", "0198c0de-0000-7000-8000-00000001abcd"]


@pytest.mark.parametrize("named", ["0000ABCD", "…0000abcd", "0198c0de…0000abcd"])
def test_id_by_its_end(named: str) -> None:
    assert id_by_end("key", named, lambda: IDS) == IDS[0]


@pytest.mark.parametrize("named", ["bcd", "…bcd", "0198c0de…", "nothing", IDS[1]])
def test_what_is_no_end_of_an_id_selects_none(named: str) -> None:
    """A key must not be revoked because it is the only one."""
    assert id_by_end("key", named, lambda: IDS[:1]) == named


def test_end_of_several_ids() -> None:
    with pytest.raises(CommandError, match="2 ids of keys end with abcd"):
        id_by_end("key", "abcd", lambda: IDS)


def test_times_and_tasks_to_start_after() -> None:
    at = StartTime().convert("2026-12-01T20:00Z", None, None)
    assert at == datetime(2026, 12, 1, 20, tzinfo=UTC)
    assert StartTime().convert("2026-12-01T21:00+01:00", None, None) == at
    later = StartTime().convert("+2h", None, None)
    assert timedelta(hours=1.9) < later - datetime.now(UTC) < timedelta(hours=2.1)
    for wrong in ("", "soon", "+", "+x", "-2h", "2026-13-01"):
        with pytest.raises(click.BadParameter):
            StartTime().convert(wrong, None, None)
    assert AfterParam().convert("@last", None, None) == ("@last", Dependency.completed)
    assert AfterParam().convert("ab12:ended", None, None) == ("ab12", Dependency.ended)
    whole = ("sweep:rates", Dependency.failed)
    assert AfterParam().convert("sweep:rates:failed", None, None) == whole
    each = ("same-index:@last", Dependency.completed)
    assert AfterParam().convert("same-index:@last", None, None) == each
    for wrong in ("sweep:", "sweep:a:soon", "same-index::ended"):
        with pytest.raises(click.BadParameter, match="is not a sweep with one of"):
            AfterParam().convert(wrong, None, None)
    for wrong in ("", ":ended", "a:", "a:unspecified", "a:b:c"):
        with pytest.raises(click.BadParameter):
            AfterParam().convert(wrong, None, None)


def test_key_value_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "value")
    monkeypatch.delenv("GONE", raising=False)
    variable = KeyValue(or_environment=True)
    assert variable.convert("A=b=c", None, None) == ("A", "b=c")
    assert variable.convert("HERE", None, None) == ("HERE", "value")
    assert KeyValue().convert("A=", None, None) == ("A", "")
    for kind, text in ((variable, "GONE"), (KeyValue(), "HERE"), (KeyValue(), "=x")):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)


def test_dataset_specs() -> None:
    spec = DatasetParam().convert("name=mnist,source=https://x/y?a=b,mount_path=/m", None, None)
    assert spec == DatasetSpec(name="mnist", source="https://x/y?a=b", mount_path="/m")
    for text in ("mnist", "name=a,name=b", "size=1", ""):
        with pytest.raises(click.BadParameter, match="sha256"):
            DatasetParam().convert(text, None, None)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("python", "src/train.py", "--x.py"), "train"),
        (("/usr/bin/env", "true"), "env"),
        (("./my job!.sh",), "my-job"),
        ((), "task"),
        (("...",), "task"),
        (("a" * 100,), "a" * 64),
    ],
)
def test_a_job_is_named_after_its_script(command: tuple[str, ...], name: str) -> None:
    assert job_name(command) == name


def test_a_request_has_only_the_given_fields() -> None:
    given = {"cpu": None, "gpu": 0, "env": (("A", "1"),), "datasets": (), "args": ""}
    assert given_fields(("python", "train.py"), given) == {
        "job_name": "train",
        "command": ("python", "train.py"),
        "gpu": 0,
        "env": {"A": "1"},
        "args": "",
    }


def test_the_exit_code_is_the_exit_code_of_the_task() -> None:
    assert outcome(Task(status=Task.completed, exit_code=0)) == 0
    assert outcome(Task(status=Task.failed, exit_code=3)) == 3
    assert outcome(Task(status=Task.failed)) == ExitCode.OWN_FAILURE
    assert outcome(Task(status=Task.failed, exit_code=0)) == ExitCode.OWN_FAILURE


def test_json_has_the_contracts_names_and_values() -> None:
    at = Timestamp(seconds=1_700_000_000, nanos=5_000_000)
    task = Task(id="x", status=Task.failed, created_at=at, failure_reason=Task.OUT_OF_MEMORY, cpu=0)
    task.metadata["a"] = "b"
    task.datasets.append("d")
    assert to_json(task) == {
        "id": "x",
        "status": "failed",
        "created_at": "2023-11-14T22:13:20.005Z",
        "datasets": ["d"],
        "cpu": 0,
        "failure_reason": "OUT_OF_MEMORY",
        "metadata": {"a": "b"},
    }
    assert to_json(TaskOutput(size_bytes=1 << 40)) == {"size_bytes": 1 << 40}
    assert to_json(ListKeysResponse(keys=[Key(role=Key.admin)])) == {"keys": [{"role": "admin"}]}


def test_formatted_durations_and_sizes() -> None:
    shown = [duration(seconds) for seconds in (-1, 59.9, 61, 3_660, 90_000)]
    assert shown == ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]
    assert [size(count) for count in (0, 1023, 1024, 1536 << 20, 1 << 60)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 GiB", "1048576.0 TiB",
    ]  # fmt: skip


def test_a_narrow_terminal_leaves_out_columns_and_cuts_no_id() -> None:
    tasks = [Task(id="a" * 36, job_name="train", user_id="ada", status=Task.running)]
    shown = {}
    for width in (80, 200):
        out = io.StringIO()
        Console(file=out, force_terminal=False, width=width).print(task_table(tasks))
        shown[width] = out.getvalue()
        assert "a" * 36 in shown[width]
        assert "train" in shown[width]
    assert shown[80].split()[:4] == ["ID", "JOB", "STATUS", "USER"]
    assert "NOTE" not in shown[80], "empty columns are left out first"
    assert "PRIORITY" in shown[200]


def test_control_characters_are_replaced() -> None:
    assert clean("a\x1b[2J\nb").plain == r"a\x1b[2J\nb"


def test_log_lines_on_a_terminal() -> None:
    out = io.StringIO()
    display = TerminalDisplay(Console(file=out, force_terminal=False, markup=False, width=80))
    display.log(b"10%\r20%\r30%\nh\xc3")
    display.log(b"\xa9llo\r\n[b]not markup[/b]\x1b[2J\nlast")
    display.close()
    assert out.getvalue().splitlines() == ["30%", "h\N{LATIN SMALL LETTER E WITH ACUTE}llo",
                                          "[b]not markup[/b]", "last"]  # fmt: skip


@pytest.mark.parametrize("key", ["a\nb", "ключ"])
def test_a_malformed_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(CommandError, match="API key") as caught, connected("127.0.0.1:1", key):
        pass
    assert caught.value.exit_code == ExitCode.REFUSED
    assert key not in caught.value.message
