"""`fetchml service`"""

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from fetchml.cli.failure import Exit, Failure
from fetchml.cli.settings import settings_options
from fetchml.frozen import is_frozen
from fetchml.service_unit import STATE, USER, BadArgument, unit
from fetchml.settings import Settings
from fetchml.versions import versions

UNIT = Path("/etc/systemd/system/fetchml.service")
PROGRAM = Path("/usr/local/bin/fetchml")
NAME = UNIT.name


class Step(NamedTuple):
    says: str
    do: Callable[[], object]


@click.group()
def service() -> None:
    """Run the server as a systemd service of this machine.

    As root. docs/operations.md describes the unit, upgrades and backups.
    """


@service.command()
@settings_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.pass_context
def install(context: click.Context, settings: Settings, *, yes: bool, dry_run: bool) -> None:
    """Install or upgrade the service, and start it. Shows all first, and asks.

    Takes the options of 'fetchml serve', and keeps them. Running tasks go on meanwhile.
    """
    steps, text = _installation(settings, _options(context))
    click.echo(f"{UNIT}:\n\n{text}")
    _carry_out(steps, yes=yes, dry_run=dry_run)


@service.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
def uninstall(*, yes: bool, dry_run: bool) -> None:
    """Stop and remove the service. Its data, its user and running tasks are left."""
    if not UNIT.exists():
        raise Failure(f"The service is not installed: {UNIT} is missing", code=Exit.NOT_FOUND)
    steps = [
        Step(
            f"stop {NAME}, and start it no more",
            lambda: _run("systemctl", "disable", "--now", NAME),
        ),
        Step(f"remove {UNIT}", UNIT.unlink),
    ]
    if PROGRAM.exists() and f"ExecStart={PROGRAM} " in UNIT.read_text():
        steps.append(Step(f"remove {PROGRAM}", PROGRAM.unlink))
    steps.append(Step("let systemd read its units", lambda: _run("systemctl", "daemon-reload")))
    _carry_out(steps, yes=yes, dry_run=dry_run)
    click.echo(f"Left as they are: the data directory, the user {USER}, and tasks that run.")


@service.command()
def status() -> int:
    """Say whether the service is installed and runs, and its version. Ends with 1 if not."""
    if not UNIT.exists():
        click.echo(f"not installed: {UNIT} is missing")
        return Exit.FAILED
    shown = _run("systemctl", "show", NAME, "--property=ActiveState,SubState,MainPID,NRestarts")
    state = dict(line.partition("=")[::2] for line in shown.splitlines())
    click.echo(f"unit {UNIT}")
    if installed := _installed():
        click.echo(f"version {installed['version']} ({installed.get('commit', 'commit unknown')})")
    click.echo(f"state {state.get('ActiveState')} ({state.get('SubState')})")
    click.echo(f"pid {state.get('MainPID')}, restarted {state.get('NRestarts')} times by itself")
    return 0 if state.get("ActiveState") == "active" else Exit.FAILED


def _options(context: click.Context) -> list[str]:
    """Of `serve`, as they were given; files by their whole names."""
    given = list[str]()
    for name in ("config", "http", "grpc", "launcher", "log_format"):
        value = context.params.get(name)
        if value is not None:
            text = str(value.absolute()) if isinstance(value, Path) else value
            given += [f"--{name.replace('_', '-')}", text]
    return given


def _installation(settings: Settings, options: list[str]) -> tuple[list[Step], str]:
    """Raises Failure."""
    data_dir = settings.data_dir.absolute()
    _refuse_older(_installed())
    program = PROGRAM if is_frozen() else Path(sys.argv[0]).absolute()
    if not is_frozen() and program.name != "fetchml":
        raise Failure("Call it as 'fetchml service install', by the name that shall be kept")
    command = [str(program), "serve", "--data-dir", str(data_dir), *options]
    docker = settings.server.launcher == "docker"
    try:
        text = unit(command, data_dir=data_dir, docker=docker, docker_group=_has_docker_group())
    except BadArgument as error:
        raise Failure(str(error), code=Exit.USAGE) from error
    steps = list[Step]()
    if is_frozen() and Path(sys.executable).resolve() != PROGRAM.resolve():
        steps.append(Step(f"copy {sys.executable} to {PROGRAM}", _copy_program))
    if not _has_user():
        steps.append(
            Step(
                f"make the system user {USER}, which may not log in",
                lambda: _run(
                    *("useradd", "--system", "--user-group", "--home-dir", str(data_dir)),
                    *("--no-create-home", "--shell", "/usr/sbin/nologin", USER),
                ),
            )
        )
    if data_dir.parent != STATE:
        steps.append(Step(f"make {data_dir} for {USER} alone", lambda: _make_data_dir(data_dir)))
    steps += [
        Step(f"write {UNIT}", lambda: _write(UNIT, text.encode(), 0o644)),
        Step("let systemd read its units", lambda: _run("systemctl", "daemon-reload")),
        Step(f"start {NAME} with the machine", lambda: _run("systemctl", "enable", NAME)),
        Step(f"start {NAME} now, anew if it runs; running tasks go on", _restart),
    ]
    return steps, text


def _refuse_older(installed: dict[str, str | int] | None) -> None:
    ours = versions()
    if installed and int(installed["schema"]) > int(ours["schema"]):
        raise Failure(
            f"FetchML {installed['version']} is installed, with schema {installed['schema']} of "
            f"the store. This is {ours['version']}, which knows schemas up to {ours['schema']} and "
            "could not open it. Nothing was changed",
            "Install a newer release, or restore a backup that the older one made.",
        )


def _installed() -> dict[str, str | int] | None:
    """The versions of the program at its place; None: there is none that answers."""
    try:
        done = subprocess.run(
            [PROGRAM, "version", "--json"], capture_output=True, timeout=60, check=True
        )
        found: dict[str, str | int] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return found


def _carry_out(steps: list[Step], *, yes: bool, dry_run: bool) -> None:
    """Raises Failure, Abort."""
    for step in steps:
        click.echo(f"- {step.says}")
    if dry_run:
        return
    if os.geteuid() != 0:
        raise Failure("Only root may do this", "sudo fetchml service …", Exit.REFUSED)
    if shutil.which("systemctl") is None:
        raise Failure("This machine has no systemd", "Run 'fetchml serve' by what starts services.")
    if not yes:
        click.confirm("Do all this?", abort=True)
    for step in steps:
        try:
            step.do()
        except OSError as error:
            raise Failure(f"Could not {step.says}: {error}") from error


def _restart() -> None:
    try:
        _run("systemctl", "restart", NAME)
    except Failure as failure:
        hint = f"journalctl -u {NAME} tells why. No task was ended, no data are lost."
        raise Failure(failure.message, hint) from failure


def _run(*command: str) -> str:
    """What it prints. Raises Failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _copy_program() -> None:
    _write(PROGRAM, Path(sys.executable).read_bytes(), 0o755)


def _write(file: Path, content: bytes, mode: int) -> None:
    """In one step: a program that runs keeps the file that it was started from."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    draft.write_bytes(content)
    draft.chmod(mode)
    draft.rename(file)


def _make_data_dir(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.chown(data_dir, USER, USER)


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def _has_docker_group() -> bool:
    groups = Path("/etc/group").read_text().splitlines()
    return any(line.startswith("docker:") for line in groups)
