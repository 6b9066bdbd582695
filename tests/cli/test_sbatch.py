"""`fetchml sbatch`: fields from options of Slurm, and scripts that run as tasks."""

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click import Context, Group

from fetchml.cli.main import fetchml
from fetchml.cli.slurm.options import (
    INSTEAD,
    OPTIONS,
    SHORT,
    BadOption,
    array,
    begins_at,
    gib,
    gpus,
    literal,
    seconds,
)
from fetchml.cli.slurm.script import (
    BadScript,
    Problems,
    command_of,
    command_of_file,
    directives,
    read,
    split,
)
from fetchml.core.sweeps.tasks import Template
from fetchml.v1.task_pb2 import Dependency
from tests.support.cli_server import Server
from tests.support.validate import ROOT


def asked(*words: str) -> tuple[dict[str, Any], Problems]:
    problems = Problems()
    found, rest = split(words, "line 1")
    assert not rest
    return read(found, problems).fields, problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 1800),
        ("1:30", 90),
        ("2:00:05", 7205),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-0:0:1", 86_401),
        ("0", 0),
        ("UNLIMITED", 0),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "x", "1:2:3:4", "-1", "1-", "99999999999", "٣"])
def test_wrong_times(text: str) -> None:
    with pytest.raises(BadOption):
        seconds(text)


NOON = datetime(2026, 12, 31, 12, 0, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-12-31T12:00"),
        ("now+90", "2026-12-31T12:01:30"),
        ("now+2hours", "2026-12-31T14:00"),
        ("now+1week", "2027-01-07T12:00"),
        ("tomorrow", "2027-01-01T12:00"),
        ("16:30", "2026-12-31T16:30"),
        ("4:30pm", "2026-12-31T16:30"),
        ("12:00:00", "2027-01-01T12:00"),
        ("12:15 AM", "2027-01-01T00:15"),
        ("teatime", "2026-12-31T16:00"),
        ("2027-02-03", "2027-02-03T00:00"),
        ("2027-02-03T04:05:06", "2027-02-03T04:05:06"),
    ],
)
def test_begin(text: str, expected: str) -> None:
    assert begins_at(text, NOON) == datetime.fromisoformat(f"{expected}+02:00")


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "12:60", "13:00pm", "now+x", "2026-13-01", "now+999999999w"]
)
def test_wrong_begin(text: str) -> None:
    with pytest.raises(BadOption, match="is not a time such as"):
        begins_at(text, NOON)


@pytest.mark.parametrize(
    ("text", "indexes", "most"),
    [
        ("3", (3,), None),
        ("0-3", (0, 1, 2, 3), None),
        ("1,5-9:2,2", (1, 2, 5, 7, 9), None),
        ("0-1%7", (0, 1), 7),
    ],
)
def test_arrays(text: str, indexes: tuple[int, ...], most: int | None) -> None:
    assert (array(text).indexes, array(text).max_parallel) == (indexes, most)


@pytest.mark.parametrize(
    "text", ["", "x", "3-1", "1-", "1-5:0", "1,", "0-3%0", "0-3%", "0-10000", "9999999999", "٣"]
)
def test_wrong_arrays(text: str) -> None:
    with pytest.raises(BadOption):
        array(text)


@pytest.mark.parametrize("text", ["${HOME}", "{{a}}", "{{{a}}}", "f'{x} {{y}}'", "{ a }", "{1}"])
def test_script_of_an_array_keeps_its_braces(text: str) -> None:
    words = literal(["sh", "-c", text])
    filled = Template({"command": [*words, "{p}"]}).filled({"p": "1"})
    assert filled["command"] == ["sh", "-c", text, "1"]


@pytest.mark.parametrize(
    ("text", "expected"), [("1024", 1), ("32G", 32), ("1T", 1024), ("512m", 0.5), ("2GB", 2)]
)
def test_memory(text: str, expected: float) -> None:
    assert gib(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("2", 2), ("gpu:3", 3), ("gpu", 1), ("gres/gpu:4", 4), ("none", 0)]
)
def test_gpus(text: str, expected: int) -> None:
    assert gpus(text) == expected


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (("--job-name=a b/c",), {"job_name": "a-b-c"}),
        (("-J", "x", "-c4", "--mem", "1500"), {"job_name": "x", "cpu": 4, "memory_gb": 2}),
        (("--mem-per-cpu=2G", "-c", "8"), {"cpu": 8, "memory_gb": 16}),
        (("--gres=gpu:2", "--mem-per-gpu=10G"), {"gpu": 2, "memory_gb": 20}),
        (("-G", "1", "-t", "1:00:00"), {"gpu": 1, "timeout_seconds": 3600}),
        (("-N1", "-n", "1", "-o", "out.%j", "--mail-type=END"), {}),
        (("--time=1", "--time=2"), {"timeout_seconds": 120}),
        (("-H", "--signal=B:USR1@90"), {"hold": True, "warn_seconds": 90}),
        (("--signal", "SIGUSR1"), {"warn_seconds": 60}),
        (
            ("-d", "afterok:1a:2b,afterany:@last", "--dependency=afternotok:3c"),
            {"after": (("3c", Dependency.failed),)},
        ),
        (("-d", "aftercorr:1a"), {"after": (("same-index:1a", Dependency.completed),)}),
        (
            ("-d", "afterok:1a:2b,afterany:@last"),
            {
                "after": (
                    ("1a", Dependency.completed),
                    ("2b", Dependency.completed),
                    ("@last", Dependency.ended),
                )
            },
        ),
    ],
)
def test_options(words: tuple[str, ...], fields: dict[str, Any]) -> None:
    assert asked(*words) == (fields, Problems())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-N", "2"), "one process on one node"),
        (("--gres=gpu:a100:1",), "use 'fetchml submit --gpu 1 --slurm gres=gpu:a100:1'"),
        (("--gres=shard:1",), "is not a GPU"),
        (("--mem=0",), "not an amount of memory"),
        (("--time=soon",), "'soon' is not a time"),
        (("-c", "many"), "is not a number"),
        (("--export=NOT_SET_HERE",), "is not set here"),
        (("--begin=soon",), "is not a time such as now+2hours"),
        (("--signal=TERM@60",), "gets no other signal"),
        (("-d", "singleton"), "is not afterok, afternotok, afterany or aftercorr"),
        (("-d", "afterok:"), "is not afterok, afternotok, afterany or aftercorr"),
        (("-d", "afterok:1?afterok:2"), "not for one of them"),
        (("--array=9-1",), "is not an index or a range"),
    ],
)
def test_wrong_options_are_named(words: tuple[str, ...], said: str) -> None:
    _, problems = asked(*words)
    assert said in problems.wrong[0]
    assert problems.wrong[0].startswith("line 1: --")


def test_every_command_that_is_advised_exists() -> None:
    for advice in INSTEAD.values():
        words = re.search(r"fetchml ([a-z]+) ([a-z]+|--[a-z-]+)", advice)
        assert words is not None, advice
        name, word = words.groups()
        command = fetchml.get_command(Context(fetchml), name)
        assert command is not None, advice
        if isinstance(command, Group):
            assert command.get_command(Context(command), word) is not None, advice
        else:
            assert word in {option for each in command.params for option in each.opts}, advice


def test_options_without_a_counterpart_are_named_with_a_remedy() -> None:
    _, problems = asked("--nice=5", "--requeue")
    assert problems.unsupported[0] == "line 1: --nice: use fetchml submit --priority"
    assert problems.unsupported[1].startswith("line 1: --requeue: ")


def test_array_is_not_waited_for() -> None:
    _, problems = asked("--array=1-3", "--wait")
    assert problems.wrong == ["--wait can't follow an array: use fetchml sweep show @last"]


def test_directives_end_at_the_first_command() -> None:
    text = (
        '#!/bin/bash\n\n# note\n#SBATCH -J "a b" # why\n##SBATCH --array=1\n'
        "echo\n#SBATCH --array=1\n"
    )
    assert directives(text) == [("line 4", ["-J", "a b"])]
    with pytest.raises(BadScript, match="line 2"):
        directives('#!/bin/sh\n#SBATCH -J "a')
    with pytest.raises(BadScript, match="needs a value"):
        split(["--time"], "line 1")


def test_command_of_a_script() -> None:
    shell = "#!/bin/bash -l\necho $1\n"
    assert command_of(shell, "job.sh", ["x"]) == ("/bin/bash", "-l", "-c", shell, "job.sh", "x")
    python = "#!/usr/bin/env python3\n"
    assert command_of(python, "a.py", ["x"]) == ("/usr/bin/env", "python3", "-c", python, "x")
    assert command_of_file(shell, "d/job.sh", ["x"]) == ("/bin/bash", "-l", "d/job.sh", "x")
    for text in ("#!/usr/bin/perl\n", "#!/bin/sh\n" + "x" * 40_000):
        with pytest.raises(BadScript):
            command_of(text, "a", [])


@pytest.mark.parametrize("text", ["", "echo\n", "#!\n", '#!/bin/bash "\n', "#!/bin/sh \\\n"])
def test_first_line_that_names_no_interpreter(text: str) -> None:
    for command in (command_of, command_of_file):
        with pytest.raises(BadScript, match="line"):
            command(text, "job.sh", [])


def test_documented_table_has_every_option() -> None:
    page = (ROOT / "docs/cluster-sbatch.md").read_text()
    short = {name: letter for letter, name in SHORT.items()}
    for name in OPTIONS:
        own = f", `-{short[name]}`" if name in short else ""
        assert f"| `--{name}`{own} |" in page, name


def script(folder: Path, *lines: str) -> str:
    path = folder / "job.sh"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    return str(path)


def test_script_runs_as_a_task(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("from the folder\n")
    lines = (
        "#SBATCH --job-name=from-slurm",
        "#SBATCH --time=10 --wait",
        'echo "$0 $1"; cat data.txt',
    )
    path = script(tmp_path, *lines)
    ran = server.run("sbatch", f"--chdir={tmp_path}", "--export=A=1", path, "an argument")
    assert ran.code == 0, ran.err
    assert "job.sh an argument\nfrom the folder" in ran.out
    [task] = server.json("ls", "--name", "from-slurm", "-o", "json")["tasks"]
    assert task["timeout_seconds"] == 600


def test_text_of_a_script_is_enough(server: Server, tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "text $1"; exit 3')
    ran = server.run("sbatch", "--wait", path, "alone")
    assert (ran.code, "text alone" in ran.out) == (3, True)
    checked = server.run("sbatch", "--test-only", path)
    assert "job can be submitted" in checked.succeeded()
    wrapped = server.run("sbatch", "--wait", "--wrap=echo wrapped")
    assert "wrapped" in wrapped.succeeded()


def test_nothing_is_submitted_if_an_option_is_unknown(server: Server, tmp_path: Path) -> None:
    path = script(tmp_path, "#SBATCH --requeue", "#SBATCH --switches=x", "true")
    refused = server.run("sbatch", "--job-name=strict", path).failed(2)
    assert "line 2: --requeue: use fetchml submit --retries" in refused
    assert "line 3: --switches" in refused
    assert server.json("ls", "--name", "strict", "-o", "json")["tasks"] == []
    accepted = server.run("sbatch", "--lenient", "--job-name=lenient", path)
    assert accepted.succeeded()
    assert accepted.err.startswith("Left out:\n  line 2: --")
    assert len(json.dumps(server.json("ls", "--name", "lenient", "-o", "json")["tasks"])) > 2
    missing = server.run("sbatch", str(tmp_path / "none.sh"))
    assert (missing.code, "cannot read" in missing.err) == (2, True)


def test_parameters_of_a_cluster_are_the_servers_to_allow(server: Server, tmp_path: Path) -> None:
    path = script(tmp_path, "#SBATCH --partition=gpu", "true")
    refused = server.run("sbatch", path)
    assert (refused.code, "slurm" in refused.err) == (2, True), refused.err


def test_script_that_waits_for_another_task(server: Server, tmp_path: Path) -> None:
    first = server.run("sbatch", "--hold", "--wrap=true").succeeded().strip()
    lines = (
        f"#SBATCH --dependency=afterok:{first[-8:]} --begin=now+1hour",
        "#SBATCH --time=10 --signal=USR1@30",
        "true",
    )
    later = server.run("sbatch", script(tmp_path, *lines)).succeeded().strip()
    held = server.json("show", first, "--json")
    task = server.json("show", later, "--json")
    assert (held["held"], task["warn_seconds"]) == (True, 30)
    assert task["after"] == [{"task_id": first, "condition": "completed"}]
    assert "start_after" in task
    server.run("cancel", first, later).succeeded()


def test_array_becomes_a_sweep(server: Server, tmp_path: Path) -> None:
    lines = (
        "#SBATCH --job-name=rows --array=1-5:2%2",
        'echo "${SLURM_ARRAY_TASK_ID} of $SLURM_ARRAY_TASK_COUNT to $SLURM_ARRAY_TASK_MAX $A"',
    )
    path = script(tmp_path, *lines)
    checked = server.run("sbatch", "--test-only", path)
    assert checked.succeeded() == "rows can be submitted: 3 tasks"
    sweep = server.run("sbatch", "--export=A={b}", path).succeeded().strip()
    made = server.json("sweep", "show", sweep, "--json")
    assert (made["name"], made["total"], made["max_parallel"]) == ("rows", 3, 2)
    tasks = server.json("ls", "--name", "rows", "-o", "json")["tasks"]
    for task in tasks:
        server.run("watch", task["id"]).succeeded()
    logs = {server.run("logs", task["id"]).succeeded() for task in tasks}
    assert logs == {f"{index} of 3 to 5 {{b}}" for index in (1, 3, 5)}
