"""`fetchml service`, and the checks before an installation: what the service's user can read and
write. They need root.
"""

import difflib
import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
from click.core import ParameterSource

from fetchml.cli.errors import CommandError, ExitCode, reason
from fetchml.cli.settings_options import settings_options
from fetchml.config.data_dir import SERVICE_DATA, default_data_dir
from fetchml.config.settings import Settings, all_settings
from fetchml.files.layout import may_become_data_dir
from fetchml.ops.pyinstaller import is_frozen
from fetchml.ops.systemd_unit import OPTIONS, STATE, UNIT, USER, BadArgument, serve_options, unit
from fetchml.ops.versions import versions

NO_ONE = 65534
MAKE_USER = (
    *("useradd", "--system", "--user-group", "--no-create-home"),
    *("--shell", "/usr/sbin/nologin"),
)


def service_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


def docker_group() -> int | None:
    try:
        return grp.getgrnam("docker").gr_gid
    except KeyError:
        return None


def require_readable(file: Path) -> None:
    """Require a file that the service's user can read. The CommandError shows how to allow it."""
    if not file.exists():
        raise CommandError(f"{file} is missing", code=ExitCode.USAGE)
    if _may("-r", file):
        return
    # A link may lead through folders other than those of its own name.
    folders = [*reversed(file.parents), *reversed(file.resolve().parents)]
    closed = next((folder for folder in folders if not _may("-x", folder)), None)
    if closed is None:
        fix = f"Run: chgrp {USER} {file} && chmod g+r {file}"
    else:
        fix = (
            "Move it to a folder that all users can enter, or run: "
            f"chgrp {USER} {closed} && chmod g+x {closed}"
        )
    if service_user() is None:
        fix = f"{fix}\nCreate the user first: {' '.join((*MAKE_USER, USER))}"
    raise CommandError(f"The service's user {USER} cannot read {file}. Nothing was changed", fix)


def require_writable(folder: Path) -> None:
    """Require that the service's user can write to a folder, if it exists. Raises
    CommandError."""
    if folder.exists() and not (folder.is_dir() and _may("-w", folder)):
        raise CommandError(
            f"The service's user {USER} cannot write to {folder}. Nothing was changed",
            f"Run: chown {USER}: {folder}",
        )


def require_data_dir(data_dir: Path) -> None:
    """Require a data directory that is missing, empty, or FetchML's, since the installation gives
    all of it to the service's user. Raises CommandError."""
    if may_become_data_dir(data_dir):
        return
    raise CommandError(
        f"{data_dir} is neither empty nor a data directory of FetchML. Nothing was changed",
        "Name another directory with --data-dir.",
        ExitCode.USAGE,
    )


def other_owners(data_dir: Path) -> list[int]:
    """Return the other users that own files of the server, such as root after a restore.

    Files of tasks are not checked: they can belong to any user.
    """
    if not data_dir.exists():
        return []
    own = [data_dir, *data_dir.iterdir()]
    if (data_dir / "store").is_dir() and not (data_dir / "store").is_symlink():
        own += (data_dir / "store").iterdir()
    owners = set[int]()
    for path in own:
        with suppress(FileNotFoundError):  # a server may run
            owners.add(path.lstat().st_uid)
    account = service_user()
    return sorted(owners - {account.pw_uid} if account else owners)


def _may(what: str, path: Path) -> bool:
    """Run `test` as the service's user; as nobody while that user does not exist."""
    account = service_user()
    uid, gid = (account.pw_uid, account.pw_gid) if account else (NO_ONE, NO_ONE)
    groups = os.getgrouplist(USER, gid) if account else [gid]
    if (docker := docker_group()) is not None:
        groups.append(docker)
    asked = subprocess.run(
        ["test", what, path], user=uid, group=gid, extra_groups=groups, cwd="/", check=False
    )
    return asked.returncode == 0


PROGRAM = Path("/usr/local/bin/fetchml")
PACKAGE_UNIT = Path("/usr/lib/systemd/system/fetchml.service")
PACKAGE_CONFIG = Path("/etc/fetchml/fetchml.toml")
"""Files of the Debian package."""
NAME = UNIT.name


class Step(NamedTuple):
    """One step of an installation."""

    text: str
    """Its effect, as a verb phrase."""
    do: Callable[[], object]


class Upgrade(click.Command):
    """A command whose defaults are the options of the installed service."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.default_map = _installed_options()
        return super().parse_args(ctx, args)


@click.group()
def service() -> None:
    """Run the server as a systemd service. Needs root.

    docs/operations.md describes the unit, upgrades and backups.
    """


@service.command(cls=Upgrade)
@settings_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the steps, and stop.")
@click.pass_context
def install(context: click.Context, settings: Settings, *, yes: bool, dry_run: bool) -> None:
    """Install or upgrade the service and start it. Shows the steps first, and asks.

    Takes the options of 'fetchml serve' and keeps them: an upgrade names only those that change.
    Running tasks continue.

    \b
    Example:
      sudo fetchml service install --config /etc/fetchml.toml
    """
    if PACKAGE_UNIT.exists():
        raise CommandError(
            "The Debian package has installed the service",
            f"Change {PACKAGE_CONFIG}, then run: systemctl restart fetchml",
        )
    _refuse_variables()
    config = context.params.get("config")
    steps, text = _installation(settings, config, _options(context))
    click.echo(f"{UNIT}:\n\n{text}")
    if options := _options(context, ParameterSource.DEFAULT_MAP):
        click.echo(f"Kept from the installed service: {' '.join(_flags(options))}")
    _show_changes(text)
    _carry_out(steps, yes=yes, dry_run=dry_run)


@service.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the steps, and stop.")
def uninstall(*, yes: bool, dry_run: bool) -> None:
    """Stop and remove the service. Its data, its user and running tasks stay."""
    if not UNIT.exists():
        raise CommandError(
            f"The service is not installed: {UNIT} is missing", code=ExitCode.NOT_FOUND
        )
    steps = [
        Step(
            f"stop {NAME} and disable it",
            lambda: _run("systemctl", "disable", "--now", NAME),
        ),
        Step(f"remove {UNIT}", UNIT.unlink),
    ]
    if PROGRAM.exists() and f"ExecStart={PROGRAM} " in UNIT.read_text():
        steps.append(Step(f"remove {PROGRAM}", PROGRAM.unlink))
    steps.append(Step("reload systemd", lambda: _run("systemctl", "daemon-reload")))
    _carry_out(steps, yes=yes, dry_run=dry_run)
    click.echo(f"Not removed: the data directory, the user {USER}, and running tasks.")


@service.command()
def status() -> int:
    """Show the state and version of the service. Exits with 1 if it is not running."""
    if not UNIT.exists():
        click.echo(f"not installed: {UNIT} is missing")
        return ExitCode.FAILED
    shown = _run("systemctl", "show", NAME, "--property=ActiveState,SubState,MainPID,NRestarts")
    state = dict(line.partition("=")[::2] for line in shown.splitlines())
    click.echo(f"unit {UNIT}")
    if installed := _installed():
        click.echo(f"version {installed['version']} ({installed.get('commit', 'commit unknown')})")
    click.echo(f"state {state.get('ActiveState')} ({state.get('SubState')})")
    click.echo(f"pid {state.get('MainPID')}, restarted {state.get('NRestarts')} times by itself")
    return 0 if state.get("ActiveState") == "active" else ExitCode.FAILED


def _installed_options() -> dict[str, str]:
    """Raises CommandError."""
    try:
        return serve_options(UNIT.read_text())
    except FileNotFoundError:
        return {}
    except BadArgument as error:
        raise CommandError(
            f"The options in {UNIT}, which was edited, cannot be kept: {error}",
            "Move the file away and give all options again. Change it by 'systemctl edit fetchml'.",
        ) from error


def _options(context: click.Context, source: ParameterSource | None = None) -> dict[str, str]:
    """Return the options of `serve` that were given or kept, with absolute paths; only those from
    `source` if it is given."""
    options = dict[str, str]()
    for name in OPTIONS:
        value = context.params.get(name)
        if value is not None and source in (None, context.get_parameter_source(name)):
            options[name] = str(value.absolute()) if isinstance(value, Path) else value
    return options


def _flags(options: dict[str, str]) -> list[str]:
    return [
        word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)
    ]


def _refuse_variables() -> None:
    """Reject settings from environment variables, which the service would not have. Raises
    CommandError."""
    instead = {"FETCHML_CONFIG": "--config"}
    for setting in all_settings():
        flag = setting.name in OPTIONS and setting.table in {"", "server"}
        option = f"--{setting.name.replace('_', '-')}"
        instead[setting.variable] = option if flag else f"{setting} in the file of --config"
    if names := [name for name in instead if os.environ.get(name)]:
        raise CommandError(
            f"The service would not have these environment variables: {', '.join(names)}",
            "\n".join(f"Unset {name}, and use {instead[name]}." for name in names),
            ExitCode.USAGE,
        )


def _show_changes(text: str) -> None:
    if not UNIT.exists():
        return
    compared = difflib.unified_diff(
        UNIT.read_text().splitlines(), text.splitlines(), n=0, lineterm=""
    )
    changes = [line for line in compared if not line.startswith(("---", "+++", "@@"))]
    click.echo("Changes to the unit:" if changes else "The unit does not change.")
    for line in changes:
        click.echo(f"  {line}")


def _installation(
    settings: Settings, config: Path | None, options: dict[str, str]
) -> tuple[list[Step], str]:
    """Return the steps, and the text of the unit. Raises CommandError."""
    data_dir = settings.data_dir.absolute()
    if data_dir == default_data_dir():  # the default of the user of a dry run
        data_dir = SERVICE_DATA
    _refuse_older(_installed())
    program = PROGRAM if is_frozen() else Path(sys.argv[0]).absolute()
    if not is_frozen() and program.name != "fetchml":
        raise CommandError("Run it as 'fetchml service install': the unit keeps that name")
    # The data directory must not depend on the user that starts it, nor on a file.
    where = {"data_dir": str(data_dir)}
    command = [str(program), "serve", *_flags(where | options | where)]
    docker = settings.server.launcher == "docker"
    notebooks = _notebooks(settings) if docker else []
    try:
        text = unit(
            command,
            data_dir=data_dir,
            docker=docker,
            docker_group=docker_group() is not None,
            writable=notebooks,
        )
    except BadArgument as error:
        raise CommandError(str(error), code=ExitCode.USAGE) from error
    others = list[int]()
    if os.geteuid() == 0:  # other users can only do a dry run
        for file in (config, settings.server.tls_cert, settings.server.tls_key):
            if file is not None:
                require_readable(file.absolute())
        for folder in notebooks:
            require_writable(folder)
        require_data_dir(data_dir)
        others = other_owners(data_dir)
    steps = list[Step]()
    if is_frozen() and Path(sys.executable).resolve() != PROGRAM.resolve():
        steps.append(Step(f"copy {sys.executable} to {PROGRAM}", _copy_program))
    if service_user() is None:
        steps.append(
            Step(
                f"create the system user {USER}, which cannot log in",
                lambda: _run(*MAKE_USER, "--home-dir", str(data_dir), USER),
            )
        )
    made = [folder for folder in notebooks if not folder.exists()]
    for folder in [*made, *([data_dir] if data_dir.parent != STATE else [])]:
        steps.append(Step(f"create {folder} for {USER} alone", partial(_make_folder, folder)))
    for uid in others:
        steps.append(
            Step(
                f"make {USER} the owner of user {uid}'s files in {data_dir}",
                partial(_hand_over, data_dir, uid),
            )
        )
    steps += [
        Step(f"write {UNIT}", lambda: _write(UNIT, text.encode(), 0o644)),
        Step("reload systemd", lambda: _run("systemctl", "daemon-reload")),
        Step(f"enable {NAME}", lambda: _run("systemctl", "enable", NAME)),
        Step(f"start or restart {NAME}; running tasks continue", _restart),
    ]
    return steps, text


def _refuse_older(installed: dict[str, str | int] | None) -> None:
    ours = versions()
    if installed and int(installed["schema"]) > int(ours["schema"]):
        raise CommandError(
            f"FetchML {installed['version']} is installed, with schema {installed['schema']} of "
            f"the store. This is {ours['version']}, which supports schemas up to {ours['schema']}. "
            "Nothing was changed",
            "Install a newer release, or restore a backup that the older one made.",
        )


def _installed() -> dict[str, str | int] | None:
    """Return the versions of the installed program; `None` if it is missing or broken."""
    try:
        done = subprocess.run(
            [PROGRAM, "version", "--json"], capture_output=True, timeout=60, check=True
        )
        version: dict[str, str | int] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return version


def _carry_out(steps: list[Step], *, yes: bool, dry_run: bool) -> None:
    """Raises CommandError, Abort."""
    for step in steps:
        click.echo(f"- {step.text}")
    if dry_run:
        return
    if os.geteuid() != 0:
        raise CommandError("Only root can do this", "Run: sudo fetchml service …", ExitCode.REFUSED)
    if shutil.which("systemctl") is None:
        raise CommandError(
            "This machine has no systemd",
            "Run 'fetchml serve' from the service manager of this machine.",
        )
    if not yes:
        click.confirm("Do this?", abort=True)
    for step in steps:
        try:
            step.do()
        except OSError as error:
            raise CommandError(f"Failed to {step.text}: {reason(error)}") from error


def _restart() -> None:
    try:
        _run("systemctl", "restart", NAME)
    except CommandError as failure:
        hint = f"See 'journalctl -u {NAME}'. Running tasks continue, and no data is lost."
        raise CommandError(failure.message, hint) from failure


def _run(*command: str) -> str:
    """Return the output of a command. Raises CommandError."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"{' '.join(command)} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _copy_program() -> None:
    _write(PROGRAM, Path(sys.executable).read_bytes(), 0o755)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step. A running program keeps the file that it was started from."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    draft.write_bytes(content)
    draft.chmod(mode)
    draft.rename(file)


def _notebooks(settings: Settings) -> list[Path]:
    """Return the root of the Jupyter workspaces if it lies outside of the data directory."""
    root = settings.jupyter.root
    if root is None or root.resolve().is_relative_to(settings.data_dir.resolve()):
        return []
    return [root.absolute()]


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.chown(folder, USER, USER)


def _hand_over(data_dir: Path, uid: int) -> None:
    # Files of other users stay theirs: tasks and notebooks may run as other users.
    _run(
        *("chown", "--recursive", "-P", "--no-dereference", f"--from={uid}"),
        *(f"{USER}:{USER}", str(data_dir.resolve())),
    )
