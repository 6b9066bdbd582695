"""The server as a process: its start, what it refuses, its end."""

import json
import signal
import stat
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest

from fetchml.config.settings import DatasetSettings, JupyterSettings, Settings
from fetchml.server import wiring
from fetchml.server.cannot_start import CannotStart
from testbed.small_disk import mounted_disk
from tests.support.cli_server import SECONDS, Server, run
from tests.support.waiting import wait_until


def new_server(data_dir: Path) -> list[str]:
    ports = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    return ["--data-dir", str(data_dir), "--launcher", "process", *ports]


def test_a_restart_during_submit_wait(own_server: Server) -> None:
    own_server.start()
    command = "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 5"
    waiting = own_server.begin("submit", "--wait", "--", "sh", "-c", command)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "before\n"
    assert own_server.stop() == 0
    [workspace] = own_server.data_dir.glob("tasks/*/attempts/1/workspace")
    (workspace / "go").touch()
    own_server.start()
    out, said = waiting.communicate(timeout=SECONDS)
    assert out == "after\n"
    assert waiting.returncode == 5, said
    assert said.count("retrying. The task continues.") == 1
    assert said.count("retrying") == 1


def test_a_second_signal_ends_the_server_at_once_and_loses_nothing(own_server: Server) -> None:
    own_server.start()
    task_id = own_server.run("submit", "--", "true").succeeded()
    own_server.process.send_signal(signal.SIGTERM)
    own_server.process.send_signal(signal.SIGINT)
    # The kernel chooses the order of the two signals, and both may arrive too late.
    assert own_server.wait() in {0, 128 + signal.SIGINT, 128 + signal.SIGTERM}
    own_server.start()
    assert own_server.run("watch", task_id).succeeded().endswith("completed")


def test_a_data_directory_has_one_server(own_server: Server) -> None:
    own_server.start()
    second = run("serve", "--data-dir", str(own_server.data_dir), "--launcher", "process").failed(1)
    assert f"pid {own_server.pid}" in second


def test_a_port_in_use_is_reported_before_files_are_created(server: Server, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    refused = run(
        "serve", "--data-dir", str(data_dir), "--launcher", "process", "--grpc", server.grpc
    ).failed(1)
    assert f"cannot listen on {server.grpc}: Address already in use" in refused
    assert not (data_dir / "admin.key").exists()


def test_wrong_settings_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "fetchml.toml"
    file.write_text("[tasks]\nimgae = 'x'\n")
    assert "did you mean image?" in run("serve", "--config", str(file)).failed(2)
    assert run("serve", "--http", "nowhere").code == 2


def test_roots_of_datasets_and_of_jupyter_lie_apart_from_the_data(tmp_path: Path) -> None:
    """Nothing of it is opened yet; both messages end the start."""

    def refused(datasets: str, jupyter: str | None = None) -> str:
        settings = Settings(
            data_dir=tmp_path / "data",
            datasets=DatasetSettings(root=tmp_path / datasets),
            jupyter=JupyterSettings(root=tmp_path / jupyter if jupyter else None),
        )
        check = wiring.datasets if jupyter is None else partial(wiring.options, http_port=9101)
        with pytest.raises(CannotStart) as error:
            check(settings)
        return str(error.value)

    for datasets in (".", "data", "data/datasets"):
        assert "tasks could read the server's files" in refused(datasets), datasets
    for datasets, jupyter in (
        ("sets", "."),
        ("sets", "data"),
        ("sets", "data/tasks"),
        ("sets", "sets"),
        ("sets", "sets/inner"),
        ("outer/sets", "outer"),
    ):
        assert "users of Jupyter could change the server's files" in refused(datasets, jupyter)
    file = tmp_path / "fetchml.toml"
    file.write_text(f'data_dir = "{tmp_path}/data"\n[datasets]\nroot = "{tmp_path}"\n')
    assert "lie in one another" in run("serve", "--config", str(file)).failed(1)


def test_files_of_the_first_start_are_private_to_the_owner(own_server: Server) -> None:
    own_server.start()
    secret = (own_server.data_dir / "admin.key").read_text().strip()
    assert own_server.log.count(secret) == 1, "shown once"
    for path in (own_server.data_dir, *own_server.data_dir.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    own_server.stop()
    own_server.start()
    own_server.run("ls").succeeded()
    assert own_server.log.count(secret) == 1


def test_the_first_key_can_be_given(tmp_path: Path) -> None:
    wanted = "my-own-key-of-some-length"
    given = Server(tmp_path / "data", FETCHML_ADMIN_KEY=wanted).start()
    try:
        given.run("ls", FETCHML_API_KEY=wanted).succeeded()
        assert not (given.data_dir / "admin.key").exists()
        with closing(HTTPConnection(given.http)) as stranger:
            stranger.request("GET", f"/v1/tasks/{wanted}")
            assert stranger.getresponse().status == 401
        # A refusal is answered before its entry is durable.
        audit = partial(given.run, "audit", FETCHML_API_KEY=wanted)
        wait_until(lambda: "/v1/tasks/[redacted]" in audit().succeeded())
        assert wanted not in given.log
    finally:
        given.stop()


def test_a_weak_first_key_is_refused(tmp_path: Path) -> None:
    flags = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--launcher", "process")
    weak = run("serve", "--data-dir", str(tmp_path), *flags, FETCHML_ADMIN_KEY="short").failed(1)
    assert "FETCHML_ADMIN_KEY must be" in weak


def test_keys_need_no_running_server(own_server: Server) -> None:
    own_server.start()
    assert own_server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (own_server.data_dir / "control.sock").exists(), "left by the dead server"
    secret = own_server.run("keys", "create", "ada").succeeded()
    assert own_server.run("keys", "revoke", "nothing").code == 5
    assert [key["name"] for key in own_server.json("keys", "ls")["keys"]] == ["admin", "ada"]
    own_server.start()
    own_server.run("ls", FETCHML_API_KEY=secret).succeeded()


@pytest.mark.parametrize("command", ["serve", "keys", "backup"])
def test_a_foreign_folder_is_refused_and_unchanged(tmp_path: Path, command: str) -> None:
    folder = tmp_path / "papers"
    (folder / "store").mkdir(parents=True, mode=0o755)
    (folder / "thesis.tex").touch()
    folder.chmod(0o755)
    arguments = {
        "serve": ["serve", *new_server(folder)],
        "keys": ["keys", "--data-dir", str(folder), "ls"],
        "backup": ["backup", "--data-dir", str(folder), str(tmp_path / "of.tar")],
    }
    refused = run(*arguments[command]).failed(1)
    assert f"{folder} is not a data directory of FetchML, has something in it" in refused
    assert f"name another --data-dir; or, if it is meant for FetchML, chmod 700 {folder}" in (
        refused
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert sorted(path.name for path in folder.rglob("*")) == ["store", "thesis.tex"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_private_folder_with_files_is_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    folder.mkdir(mode=0o700)
    (folder / "log").write_text("kept")
    server = Server(folder).start()
    assert server.stop() == 0
    assert (folder / "log").read_text() == "kept"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_disk(tmp_path / "disk", "16k") as folder:
        yield folder


@pytest.mark.parametrize("command", ["serve", "keys"])
def test_a_full_disk_is_reported(full_disk: Path, command: str) -> None:
    data_dir = full_disk / "data"
    data_dir.mkdir()
    of_keys = ["keys", "--data-dir", str(data_dir), "ls"]
    refused = run(*of_keys) if command == "keys" else run("serve", *new_server(data_dir))
    assert refused.code == 1
    said = refused.err.splitlines()[-1]
    assert f"cannot open the store in {data_dir}/store" in said
    assert said.endswith(
        "No space left on device. Nothing was lost: free some space there, and try again"
    )
    assert "Traceback" not in refused.err


@pytest.mark.slow
def test_a_disk_that_fills_up_during_keys_create_is_reported(own_server: Server) -> None:
    own_server.start()
    assert own_server.stop() == 0
    where = ("--data-dir", str(own_server.data_dir))
    refused = run("keys", *where, "create", "ada", ulimit="-f 0").failed(1)
    assert "cannot use the store in" in refused
    assert "File too large. Nothing was lost: allow larger files" in refused
    assert "Traceback" not in refused
    assert [key["name"] for key in own_server.json("keys", "ls")["keys"]] == ["admin"]


def test_too_few_open_files_are_reported(tmp_path: Path) -> None:
    refused = run("serve", *new_server(tmp_path / "data"), ulimit="-n 20").failed(1)
    assert refused.startswith("Error: The server cannot start: the limit of open files is 20")
    assert not (tmp_path / "data").exists()


def test_the_control_socket_works_below_a_long_path(tmp_path: Path) -> None:
    deep = Server(tmp_path / ("d" * 120) / "data")
    deep.data_dir.parent.mkdir()
    deep.start()
    try:
        assert "admin" in deep.run("keys", "ls").succeeded()
    finally:
        deep.stop()


def test_requests_are_limited_by_key(tmp_path: Path) -> None:
    slow = Server(
        tmp_path / "data", FETCHML_RATE_LIMIT_PER_SECOND="1", FETCHML_RATE_LIMIT_BURST="1"
    ).start()
    try:
        secret = slow.run("keys", "create", "ada").succeeded()
        both = [slow.begin("queue", FETCHML_API_KEY=secret) for _ in range(2)]
        said = [running.communicate(timeout=SECONDS)[1] for running in both]
        assert sorted(running.returncode for running in both) == [0, 3]
        assert "Rate limit exceeded: try again in 1 s" in "".join(said)
        assert slow.json("keys", "ls")["keys"], "the owner is not limited"
    finally:
        slow.stop()


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_formats(tmp_path: Path, form: str) -> None:
    logging = Server(tmp_path / "data", "--log-format", form).start()
    task_id = logging.run("submit", "--", "true").succeeded()
    logging.run("watch", task_id).succeeded()
    assert logging.stop() == 0
    lines = [line for line in logging.log.splitlines() if "admin key" not in line]
    assert any(task_id in line for line in lines)
    if form == "json":
        assert {"info"} <= {json.loads(line)["level"] for line in lines}
    assert "Traceback" not in logging.log


def test_version() -> None:
    shown = json.loads(run("version", "--json").succeeded())
    assert shown["version"] == "0.1.0"
    assert shown["schema"] >= 1
