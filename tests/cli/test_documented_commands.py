"""Every command of the README, the pages and the help texts runs as it stands.

A page's console block, or a command's examples, are one script in a folder with a `train.py`.
Placeholders such as TASK_ID, and the host of the examples, are replaced. `EXCEPTIONS` lists the
commands that do not run here, with the reasons.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from fetchml.cli.main import fetchml
from testbed.gpu.stand_in import GpuBox, build, gpu, uuid
from tests.support import preloaded
from tests.support.cli_server import Server, environment
from tests.support.commands import ran
from tests.support.validate import ROOT
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.slow

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"(?:^|[|(;&]\s*|do\s+|\w+=\S+\s+|\./)(?:sudo )?fetchml(?:-new)? ")
FOLDER = re.compile(r"cd (examples/\w+)")
"""The folder of an example, in which the commands after it run."""
EXCEPTIONS = {
    r"fetchml serve\b": "the server of this test stands for it; tests/server starts many",
    r"fetchml jupyter\b": "it needs JupyterLab: tests/jupyter",
    r"fetchml(-new)? service\b": "it installs a systemd unit: tests/executable",
    r"fetchml (exec|port-forward)\b": "it needs a task that runs: tests/access",
    r"fetchml cp TASK_ID:/checkpoint": "it needs a task with a checkpoint: test_drill.py",
    r"--slurm ": "it needs a server over Slurm: tests/server/test_slurm.py",
    r"--volume ": "it needs a volume in the settings: tests/engine/test_volumes.py",
    r"fetchml env rm": "it needs an environment: tests/server/test_kept_environments.py",
    r"fetchml secret (set|rm)|--secret ": "it needs a value: tests/cli/test_secret.py",
    r"fetchml notifications|--notify ": "it needs a receiver: tests/cli/test_notifications.py",
    r"fetchml task declare-lost": "it needs a silent node: tests/server/test_slurm_faults.py",
    r"xargs -r fetchml retry": "it meets other examples' dependents: test_task_commands.py",
    r"fetchml rerun TASK_ID -p": "it needs a task of a sweep: tests/reproduce",
    r"submit --passport": "it needs another server: tests/reproduce",
    r"fetchml ui --open": "it opens a browser: tests/ui",
    r"\bage\b|\bgpg\b|zstd": "the program is not part of FetchML",
    r"…": "the command is abridged",
    r"fetchml watch --user": "it runs until Ctrl-C: test_commands.py",
    r"fetchml completion fish": "it writes to the folder of fish: test_completion.py",
    r"fetchml completion zsh": "it needs zsh: test_completion.py",
    r"/var/lib/fetchml": "it writes to the service's folder: tests/hostile/test_restore.py",
}
WAITING = re.compile("fetchml (priority|hold|release|start-after|timeout|notify) ")
"""Commands for tasks that wait: here for one that is held."""
LEAVES_TRACES = "experiment create|compare|gpu drain|fetchml reserv"
TRAIN = """\
import json, os
with open(os.path.join(os.environ["FETCHML_OUTPUTS"], "metrics.json"), "w") as file:
    json.dump({"loss": 0.1}, file)
print("trained")
"""
WRITES = (
    'cd "$FETCHML_OUTPUTS"; echo 1 > model.bin; mkdir checkpoints; echo 1 > checkpoints/1; '
    "echo loss 0.1"
)
"""The command of TASK_ID: it leaves the outputs and the log that examples name."""
WAIT_FOR_ALL = (
    "fetchml ls --status queued --status preparing --status running --status collecting -o name "
    "| xargs -r -n 1 fetchml watch > /dev/null"
)
"""A person compares tasks once they have ended."""
EXPERIMENT = """\
fetchml experiment create "learning rates"
fetchml submit --experiment "learning rates" --dir . -- python3 train.py"""
"""What the example of a comparison compares."""


def examples(command: click.Command, context: click.Context) -> Iterator[tuple[str, list[str]]]:
    """Yield the examples in the help text of a command, and of all commands in it."""
    text = command.get_help(context)
    found = re.search(r"^ *Examples?:\n(.*?)(?:\n *\n|\Z)", text, re.DOTALL | re.MULTILINE)
    if found:
        lines = [re.split(r"\s{2,}", line.strip())[0] for line in found[1].splitlines()]
        yield context.command_path, [line for line in lines if COMMAND.search(line)]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            inside = click.Context(inner, context, info_name=name, terminal_width=100)
            yield from examples(inner, inside)


def blocks() -> Iterator[tuple[str, list[str]]]:
    """Yield every script: its place, and its commands."""
    for page in PAGES:
        shown = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
        for number, block in enumerate(shown, 1):
            shown_lines = re.findall(r"^[$#] (.*)", block, re.MULTILINE)
            lines = [re.sub(r"\s+#\s.*", "", line) for line in shown_lines]
            commands = [line for line in lines if COMMAND.search(line) or FOLDER.fullmatch(line)]
            if any(map(COMMAND.search, commands)):
                yield f"{page.stem}-{number}", commands
    yield from examples(fetchml, click.Context(fetchml, info_name="fetchml", terminal_width=100))


BLOCKS = dict(blocks())


def is_exception(line: str) -> bool:
    return any(re.search(pattern, line) for pattern in EXCEPTIONS)


class Place:
    """A server with four GPUs and a dataset, and a folder of a person's code beside it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder = folder
        self._server = server
        self._key = server.run("keys", "create", "person", "--role", "admin").succeeded()
        self._runs = 0
        programs = folder / "bin"
        programs.mkdir()
        program = programs / "fetchml"
        program.write_text(preloaded.script())
        program.chmod(0o755)
        self._path = f"{programs}:{os.environ['PATH']}"

    def run(self, commands: list[str]) -> None:
        self._runs += 1
        code = self._folder / f"code{self._runs}"
        code.mkdir()
        (code / "train.py").write_text(TRAIN)
        (code / "job.sh").write_text('#!/bin/sh\n#SBATCH --job-name=example\necho "$@"\n')
        (code / "runs.csv").write_text("lr,layers\n0.1,2\n")
        (code / "key.txt").write_text(self._key)
        # The default command of a task is 'python train.py', and hosts call it python3.
        (code / "fetchml.toml").write_text('command = ["python3", "train.py"]\n')
        for line in commands:
            if found := FOLDER.fullmatch(line):
                shutil.copytree(ROOT / found[1], code / found[1])
        lines = [self._prepared(line, code) for line in commands]
        if any("@last" in line for line in commands):
            lines = ["fetchml submit --dir . --wait", *lines]
        if "compare" in commands[0]:
            lines = [EXPERIMENT, *lines]
        script = "\n".join(["set -euxo pipefail", *lines])
        done = ran(
            ["bash", "-c", script],
            cwd=code,
            input=f"{self._key}\n",
            env=environment(
                **self._server.variables,
                FETCHML_API_KEY=self._key,
                HOME=str(code),
                PATH=self._path,
                XDG_CONFIG_HOME=str(code / "config"),
            ),
            timeout=3 * SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def _prepared(self, line: str, code: Path) -> str:
        """Return a line with the server, the ids and the paths of this place."""
        values: dict[str, Callable[[], str]] = {
            r"https://gpu\.example\.org:\d+|\bgpu1\b": lambda: self._server.grpc,
            r"\bTASK_ID\b": self._task,
            r"(?<=--snapshot )ID\b": lambda: self._made("snapshot", "create", str(code)),
            r"\bKEY_ID\b": self._key_id,
            r"\bRESERVATION_ID\b": self._reservation_id,
            r"\bDIR\b": lambda: str(code / "restored"),
            r"\bFILE\b|fetchml\.tar\b": lambda: str(code / "backup.tar"),
            r"/var/backups": lambda: str(code),
            r"GPU-77d0": lambda: uuid(2)[:14],
            r"-- python train\.py": lambda: "-- python3 train.py",
        }
        if WAITING.match(line):
            held = self._made("submit", "--hold", "--timeout", "1h", "--", "true")
            line = f"{re.sub(r'@last|TASK_ID', held, line)}\nfetchml cancel {held}"
        for pattern, value in values.items():
            if re.search(pattern, line):
                line = re.sub(pattern, value().replace("\\", r"\\"), line)
        if "experiment compare" in line:
            line = f"{WAIT_FOR_ALL}\n{line}"
        if line.startswith("fetchml doctor"):
            # It exits with 1 where the machine has a problem, as this one may.
            line = f"code=0; ({line}) || code=$?; test $code -le 1"
        if "fetchml profiles" in line or "fetchml logout" in line:
            line = f"echo {self._key} | fetchml login {self._server.grpc} --name lab\n{line}"
        return line

    def _made(self, *command: str) -> str:
        return self._server.run(*command).succeeded()

    def _task(self) -> str:
        task_id = self._made("submit", "--", "sh", "-c", WRITES)
        self._server.run("watch", task_id).succeeded()
        return task_id

    def _key_id(self) -> str:
        found: str = self._server.json("keys", "create", "for-a-test")["key"]["id"]
        return found

    def _reservation_id(self) -> str:
        times = ("--from", "+100h", "--to", "+101h")
        found: str = self._server.json("reserve", "3", "--user", "ada", *times)["id"]
        return found

    def clear(self) -> None:
        """Remove what a later script would find twice, and what keeps GPUs from it."""
        for booking_id in self._made("reservations", "ls", "-o", "name").splitlines():
            self._server.run("reservations", "rm", booking_id).succeeded()
        for name in self._made("experiment", "ls", "-o", "name").splitlines():
            self._server.run("experiment", "rm", name).succeeded()
        for number in "23":
            self._server.run("gpu", "undrain", number).succeeded()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("documented")
    libraries = folder / "libraries"
    libraries.mkdir()
    build(libraries)
    box = GpuBox(folder / "nvidia", libraries)
    box.set(*(gpu(number) for number in range(4)))
    (folder / "datasets/mnist").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        box.enter(monkeypatch)
        server = Server(
            folder / "data",
            LD_LIBRARY_PATH=str(box.folder),
            FETCHML_DATASETS_ROOT=str(folder / "datasets"),
        ).start()
        yield Place(folder, server)
        assert server.stop() == 0


@pytest.mark.parametrize("where", BLOCKS)
def test_commands_run_as_they_stand(place: Place, where: str) -> None:
    commands = [line for line in BLOCKS[where] if not is_exception(line)]
    if commands:
        place.run(commands)
        if any(re.search(LEAVES_TRACES, line) for line in commands):
            place.clear()


def test_few_commands_are_exceptions() -> None:
    lines = [line for commands in BLOCKS.values() for line in commands]
    left_out = [line for line in lines if is_exception(line)]
    assert len(lines) > 90
    assert len(left_out) < len(lines) * 0.35
    unused = [each for each in EXCEPTIONS if not any(re.search(each, line) for line in lines)]
    assert unused == [], "an exception that excepts nothing is to be removed"
