"""Places of a task beside its three own: checkpoints, volumes and secrets, under every launcher."""

import re
from pathlib import Path

from fetchml.core.model import SecretForm, SecretUse, SweepMember
from fetchml.files import secrets_file
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import Launcher, Mount, NamedFolder, Secrets
from fetchml.ports.task_environment import TrackingAccess, attempt_variables, python_variables
from tests.support import tasks
from tests.support.launcher_bench import Bench, end_of, silent
from tests.support.waiting import soon

DOCUMENTED = re.compile(r"^\| (`[A-Z].*?`) \| .* \| (.*?) \| (.*?) \|$", re.MULTILINE)
OF_NO_TASK = {"HOSTNAME", "LANG", "LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"}
"""Set by the image, the shell and the interpreter."""


def documented(column: int) -> set[str]:
    """The variables in the table of docs/tasks.md. `column`: 0 for a container, 1 for a process."""
    page = (Path(__file__).parents[2] / "docs/tasks.md").read_text()
    section = page.partition("### Variables")[2].partition("\n#")[0]
    rows = DOCUMENTED.findall(section)
    return {
        name.replace("<NAME>", "LR")
        for names, *columns in rows
        if columns[column] != "no"
        for name in re.findall(r"`(.+?)`", names)
    }


class FoldersConformance:
    """Part of LauncherConformance."""

    documented_column = 1

    async def test_variables_are_the_documented_ones(
        self, bench: Bench, launcher: Launcher, tmp_path: Path
    ) -> None:
        folder = tmp_path / "folder"
        folder.mkdir(mode=0o777)
        member = SweepMember("the-sweep", 0, {"lr": "0.1"})
        task = tasks.task(spec=tasks.spec(env={"GIVEN": "1"}, sweep=member))
        tracking = TrackingAccess("http://127.0.0.1:1/mlflow", "token", "digits")
        env = attempt_variables(task, tracking) | python_variables(task, "/venv", "/usr/bin:/bin")
        run = bench.run(
            "env",
            env=env,
            named_folders=(NamedFolder("FETCHML_CHECKPOINT", folder, "/checkpoint"),),
            inputs=(Mount(folder, "/inputs/other", read_only=True),),
            volumes=(Mount(folder, "/volumes/models", read_only=True),),
            secrets=Secrets(secrets_file.encode([(SecretUse("TOKEN"), b"value-of-the-token")])),
        )
        log = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        names = {line.partition("=")[0] for line in log.tail().decode().splitlines()}
        # Of tasks with GPUs (tests/gpu).
        expected = documented(self.documented_column) - {"FETCHML_GPU_UUIDS"}
        assert names - OF_NO_TASK == expected | {"GIVEN", "TOKEN"}

    async def test_further_place_keeps_the_files_of_attempts(
        self, bench: Bench, launcher: Launcher, tmp_path: Path
    ) -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        kept.chmod(0o777)
        named_folders = (NamedFolder("FETCHML_CHECKPOINT", kept, "/checkpoint"),)
        script = 'trap "echo warned; exit 4" USR1; cd "$FETCHML_CHECKPOINT"; echo x >>state; '
        wait = "echo ready; while :; do read line <gate; done"
        run = bench.run("sh", "-c", f"{script} mkfifo gate; {wait}", named_folders=named_folders)
        folder = await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        await soon(launcher.warn(run))
        await soon(launcher.wait(run))
        end = end_of(run)
        assert (end.code, end.stopped) == (4, False)
        assert b"warned" in folder.tail()
        assert (kept / "state").read_text() == "x\n"
        await soon(launcher.warn(run))  # Nothing is left to warn.

    async def test_volumes(self, bench: Bench, launcher: Launcher, tmp_path: Path) -> None:
        volumes = []
        for name, read_only in (("models", True), ("scratch", False)):
            source = tmp_path / name
            source.mkdir()
            source.chmod(0o777)
            (source / "there").write_text(f"in {name}\n")
            volumes.append(Mount(source, f"/volumes/{name}", read_only))
        script = 'cd "$FETCHML_VOLUMES"; cat */there; echo new >scratch/made'
        run = bench.run("sh", "-c", script, volumes=tuple(volumes))
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert folder.tail() == b"in models\nin scratch\n"
        assert (tmp_path / "scratch/made").read_text() == "new\n"
        await soon(launcher.remove(run))
        assert not (run.folder / "volumes").exists()
        assert (tmp_path / "models/there").exists()

    async def test_secrets(self, bench: Bench, launcher: Launcher) -> None:
        uses = (
            (SecretUse("TOKEN"), b"value-of-the-token"),
            (SecretUse("KEY", SecretForm.FILE), b"a\nb\n"),
        )
        script = 'echo "[$TOKEN]"; cd "$FETCHML_SECRETS"; stat -c "%n %a" *; test -O KEY; cat KEY'
        run = bench.run("sh", "-c", script, secrets=Secrets(secrets_file.encode(uses)))
        assert "value-of-the-token" not in repr(run)
        await soon(launcher.prepare(run, silent))
        # A later server that prepares it again leaves it as it is.
        await soon((await bench.open()).prepare(run, silent))
        folder = AttemptFolder(run.folder)
        folder.open_gate()
        await soon(launcher.wait(run))
        assert folder.tail() == b"[***]\nKEY 400\na\nb\n"
        await soon(launcher.remove(run))
        left = [path for path in run.folder.rglob("*") if path.is_file()]
        assert not any(b"value-of-the-token" in path.read_bytes() for path in left)
