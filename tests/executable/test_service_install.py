"""What `service install` keeps of an installed service, refuses, and does to files.

Nothing here touches this machine's systemd: the unit lies elsewhere, `systemctl` is a stand-in, and
the service's user is one that every machine has.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fetchml.cli import service_commands
from fetchml.ops.systemd_unit import BadArgument, serve_options, unit

DAEMON = 1
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root installs a service"),
]


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user may enter; in it the unit and what is installed."""
    box = Path(tempfile.mkdtemp(prefix="fetchml-service-"))
    box.chmod(0o755)
    for name in os.environ:
        if name.startswith("FETCHML_"):
            monkeypatch.delenv(name)
    (box / "bin").mkdir()
    (box / "bin/systemctl").write_text(f'#!/bin/sh\necho "$@" >>{box}/systemctl.log\n')
    (box / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{box}/bin:{os.environ['PATH']}")
    monkeypatch.setattr("sys.argv", [f"{box}/bin/fetchml"])
    monkeypatch.setattr(service_commands, "UNIT", box / "fetchml.service")
    monkeypatch.setattr(service_commands, "PROGRAM", box / "bin/fetchml")
    monkeypatch.setattr(service_commands, "USER", "daemon")
    yield box
    shutil.rmtree(box)


def install(*options: str) -> Result:
    return CliRunner().invoke(service_commands.service, ["install", *options])


def installed(box: Path) -> dict[str, str]:
    return serve_options((box / "fetchml.service").read_text())


def test_upgrade_keeps_every_option(box: Path) -> None:
    config = box / "fetchml.toml"
    config.write_text("[tasks]\nmax_retries = 1\n")
    options = {
        "data_dir": f"{box}/data",
        "config": str(config),
        "http": "0.0.0.0:9101",
        "grpc": "[::1]:9",
        "launcher": "process",
        "log_format": "json",
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    first = install("--yes", *flags)
    assert first.exit_code == 0, first.output
    assert "Kept" not in first.output
    assert installed(box) == options
    text = (box / "fetchml.service").read_text()

    second = install("--yes")
    assert second.exit_code == 0, second.output
    assert f"Kept from the installed service: --data-dir {box}/data" in second.output
    assert "The unit does not change." in second.output
    assert (box / "fetchml.service").read_text() == text

    shown = install("--dry-run", "--launcher", "docker", "--http", "127.0.0.1:1")
    assert shown.exit_code == 0, shown.output
    assert "  -ExecStart=" in shown.output
    assert "  +PrivateTmp=yes" in shown.output
    assert installed(box) == options
    assert install("--yes", "--launcher", "docker", "--http", "127.0.0.1:1").exit_code == 0
    assert installed(box) == {**options, "launcher": "docker", "http": "127.0.0.1:1"}
    assert (box / "systemctl.log").read_text().count("restart") == 3


def test_dry_run_of_a_user_shows_the_data_folder_of_root(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", f"{box}/state")
    monkeypatch.setattr("fetchml.config.data_dir.SERVICE_DATA", box / "service")
    monkeypatch.setattr(service_commands, "SERVICE_DATA", box / "service")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert f"serve --data-dir {box}/service\n" in install("--dry-run").output


def test_unreadable_unit_options_are_not_dropped(box: Path) -> None:
    changed = unit(["/bin/x", "serve", "--more", "1"], data_dir=box, docker=True, docker_group=True)
    (box / "fetchml.service").write_text(changed)
    refused = install("--yes")
    assert refused.exit_code == 1
    assert "'--more'" in refused.output
    assert (box / "fetchml.service").read_text() == changed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ExecStart=",
        "ExecStart=/bin/x run",
        "ExecStart=/bin/x serve --http",
        "ExecStart=/bin/x serve --http $HTTP",
        'ExecStart=/bin/x serve --data-dir="/srv/a b"',
        "ExecStart=/bin/x serve\nExecStart=/bin/y serve",
    ],
)
def test_foreign_command_in_the_unit_is_rejected(text: str) -> None:
    with pytest.raises(BadArgument):
        serve_options(text)


def test_settings_invisible_to_the_service_are_rejected(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCHML_LAUNCHER", "process")
    monkeypatch.setenv("FETCHML_TASKS_IMAGE", "x")
    monkeypatch.setenv("FETCHML_API_KEY", "a client's")
    refused = install("--yes", "--data-dir", f"{box}/data")
    assert refused.exit_code == 2
    assert "use --launcher" in refused.output
    assert "[tasks] image in the file" in refused.output
    assert "API_KEY" not in refused.output
    assert not (box / "fetchml.service").exists()


def test_files_unreadable_for_the_service_user_are_rejected(box: Path) -> None:
    config, key = box / "fetchml.toml", box / "key.pem"
    key.touch(mode=0o600)
    config.write_text(f'[server]\ntls_key = "{key}"\ntls_cert = "{key}"\n')
    config.chmod(0o640)
    given = ("--yes", "--data-dir", f"{box}/data", "--config", str(config))

    refused = install(*given)
    assert refused.exit_code == 1
    assert f"chgrp daemon {config} && chmod g+r {config}" in refused.output
    shutil.chown(config, group="daemon")
    assert f"chgrp daemon {key} && chmod g+r {key}" in install(*given).output
    shutil.chown(key, group="daemon")
    key.chmod(0o640)
    (box / "closed").mkdir(mode=0o700)
    key.rename(box / "closed/key.pem")
    key.symlink_to(box / "closed/key.pem")
    assert f"chmod g+x {box}/closed\n" in install(*given).output
    assert not (box / "fetchml.service").exists()
    (box / "closed").chmod(0o711)
    done = install(*given)
    assert done.exit_code == 0, done.output


def test_creation_of_a_missing_user_is_reported(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_commands, "USER", "fetchml-missing")
    config = box / "fetchml.toml"
    config.touch(mode=0o600)
    refused = install("--yes", "--data-dir", f"{box}/data", "--config", str(config))
    assert refused.exit_code == 1
    assert "useradd --system" in refused.output


def test_notebook_folder_elsewhere_is_created_and_writable(box: Path) -> None:
    config = box / "fetchml.toml"
    config.write_text(f'[jupyter]\nroot = "{box}/notebooks"\n')
    given = ("--yes", "--data-dir", f"{box}/data", "--config", str(config))
    assert install(*given).exit_code == 0
    text = (box / "fetchml.service").read_text()
    assert f"ReadWritePaths={box}/notebooks {box}/data\n" in text
    assert (box / "notebooks").stat().st_uid == DAEMON
    os.chown(box / "notebooks", 0, 0)
    refused = install(*given)
    assert refused.exit_code == 1
    assert f"chown daemon: {box}/notebooks" in refused.output
    config.write_text(f'[jupyter]\nroot = "{box}/data/jupyter/all"\n')
    assert install(*given).exit_code == 0
    assert f"ReadWritePaths={box}/data\n" in (box / "fetchml.service").read_text()


def test_folder_with_foreign_files_is_never_used(box: Path) -> None:
    data = box / "data"
    data.mkdir()
    (data / "thesis.tex").touch()
    refused = install("--yes", "--data-dir", str(data))
    assert refused.exit_code == 2
    assert "neither empty nor a data directory" in refused.output
    assert data.stat().st_uid == 0
    refused = install("--yes", "--data-dir", str(data / "thesis.tex"))
    assert refused.exit_code == 2
    (data / "thesis.tex").rename(data / "lost+found")
    assert install("--yes", "--data-dir", str(data)).exit_code == 0
    assert data.stat().st_uid == DAEMON


def test_files_of_root_in_the_data_are_handed_over_without_following_links(box: Path) -> None:
    data, outside = box / "data", box / "outside"
    outside.mkdir()
    (outside / "file").touch()
    for folder in ("store", "tasks/1/outputs", "jupyter/ada"):
        (data / folder).mkdir(parents=True)
    (data / "store/fetchml.duckdb").touch()
    (data / "tasks/1/outputs/file").symlink_to(outside / "file")
    (data / "tasks/1/outputs/folder").symlink_to(outside)
    (data / "jupyter/ada/notebook").touch()
    for path in (data / "jupyter/ada", data / "jupyter/ada/notebook"):
        os.chown(path, 2000, 2000)
    os.chown(data, DAEMON, DAEMON)

    done = install("--yes", "--data-dir", str(data))
    assert done.exit_code == 0, done.output
    assert f"user 0's files in {data}" in done.output
    owners = {path.relative_to(data): path.lstat().st_uid for path in data.rglob("*")}
    containers = {Path("jupyter/ada"), Path("jupyter/ada/notebook")}
    assert {path for path, uid in owners.items() if uid != DAEMON} == containers
    assert {(outside / name).stat().st_uid for name in (".", "file")} == {0}
    assert "'s files in" not in install("--yes", "--data-dir", str(data)).output
