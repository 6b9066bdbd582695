"""`login`, `logout`, `profiles`, and the server and key that a command uses."""

import json
import stat
import subprocess
from pathlib import Path

import click
import pytest

from fetchml.cli.errors import CommandError
from fetchml.cli.profiles import host_of, with_port
from fetchml.cli.targets import (
    Profile,
    Profiles,
    Target,
    find_target,
    read_profiles,
    write_profiles,
)
from tests.support.cli_server import FETCHML, Server, environment, run
from tests.support.commands import ran
from tests.support.terminal import OnTerminal


def login(
    server: Server, folder: Path, key: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return ran(
        [*FETCHML, "login", server.grpc, *arguments],
        input=f"{key}\n",
        env=environment(XDG_CONFIG_HOME=str(folder)),
    )


def test_login_stores_a_profile_that_commands_use(server: Server, tmp_path: Path) -> None:
    at_home = {"XDG_CONFIG_HOME": str(tmp_path)}
    secret = server.run("keys", "create", "grace").succeeded()
    refused = login(server, tmp_path, "fml_wrong")
    assert refused.returncode == 4
    assert not (tmp_path / "fetchml").exists(), "a wrong key is not stored"
    done = login(server, tmp_path, secret, "--name", "lab")
    assert done.returncode == 0, done.stderr
    assert secret not in done.stdout + done.stderr
    file = tmp_path / "fetchml/profiles.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    task_id = run("submit", "--", "true", **at_home).succeeded()
    assert server.json("show", task_id)["user_id"] == "grace"
    for chosen in (("--profile", "lab"), ("--server", server.grpc)):
        assert task_id in run(*chosen, "ls", **at_home).succeeded()
    assert task_id in run("ls", FETCHML_PROFILE="lab", **at_home).succeeded()
    listed = run("profiles", "--json", **at_home).succeeded()
    assert json.loads(listed) == {
        "profiles": [{"name": "lab", "server": server.grpc, "default": True}]
    }
    assert run("profiles", "-o", "name", **at_home).succeeded() == "lab"
    assert "There are lab." in run("--profile", "lap", "ls", **at_home).failed(2)
    assert run("logout", **at_home).succeeded() == "Profile lab is removed."
    assert secret not in file.read_text()
    assert run("profiles", "-o", "name", **at_home).succeeded() == ""
    assert run("logout", **at_home).code == 2


def test_login_asks_for_the_key_without_showing_it(server: Server, tmp_path: Path) -> None:
    secret = server.run("keys", "create", "hidden").succeeded()
    with OnTerminal(
        ("login", server.grpc), {"XDG_CONFIG_HOME": str(tmp_path)}, columns=200
    ) as terminal:
        terminal.until(f"API key for {server.grpc}:")
        terminal.type(f"{secret}\n")
        shown = terminal.finish()
    assert "Profile 127.0.0.1 is stored in" in shown
    assert secret not in shown
    assert run("profiles", "--use", "other", XDG_CONFIG_HOME=str(tmp_path)).code == 2
    assert run("profiles", "--use", "127.0.0.1", XDG_CONFIG_HOME=str(tmp_path)).code == 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("SERVER", "API_KEY", "PROFILE"):
        monkeypatch.delenv(f"FETCHML_{name}", raising=False)
    return tmp_path


def test_options_come_before_the_environment_and_that_before_the_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_target(None, None) == Target("127.0.0.1:9102", None)
    a, b = Profile("a:1", "key-a", "/ca"), Profile("b:1", "key-b")
    write_profiles(Profiles("a", {"a": a, "b": b}))
    assert find_target(None, None) == Target("a:1", "key-a", "/ca")
    assert find_target(None, "b") == Target("b:1", "key-b")
    assert find_target("b:1", None) == Target("b:1", "key-b"), "its profile has a key"
    assert find_target("c:1", None) == Target("c:1", None), "no key for a server without one"
    monkeypatch.setenv("FETCHML_PROFILE", "b")
    assert find_target(None, None) == Target("b:1", "key-b")
    monkeypatch.setenv("FETCHML_SERVER", "c:1")
    assert find_target(None, None) == Target("c:1", None)
    assert find_target(None, "a").key == "key-a"
    monkeypatch.setenv("FETCHML_API_KEY", "own")
    assert find_target(None, None) == Target("c:1", "own")
    assert find_target("a:1", None).key == "own"
    assert find_target(None, "a").key == "key-a", "a profile that is named has its own key"
    with pytest.raises(click.UsageError):
        find_target("a:1", "b")


def test_a_file_that_others_may_read_is_refused(home: Path) -> None:
    path = write_profiles(Profiles("a", {"a": Profile("a:1", "key-a")}))
    path.chmod(0o644)
    with pytest.raises(CommandError, match="Other users may read") as refused:
        read_profiles()
    assert "chmod 600" in refused.value.hint


@pytest.mark.parametrize(
    "text", ["current = 1", "profiles = 1", "[profiles]\na = 1", '[profiles.a]\nserver = "x"', "="]
)
def test_a_malformed_file_is_reported(home: Path, text: str) -> None:
    path = write_profiles(Profiles())
    path.write_text(text)
    with pytest.raises(CommandError, match="malformed"):
        read_profiles()


def test_profiles_survive_odd_values(home: Path) -> None:
    odd = Profiles("a.b", {"a.b": Profile('q"\\', "k\x7f\n", "/\N{SNOWMAN}")})
    write_profiles(odd)
    assert read_profiles() == odd


def test_addresses_of_login() -> None:
    assert with_port("gpu-box") == "gpu-box:9102"
    assert with_port("https://gpu-box:443/") == "https://gpu-box:443"
    assert host_of("https://[::1]:9102") == "1"
    assert host_of("https://gpu.example.org:9102") == "gpu.example.org"
    for wrong in ("", "ftp://x", "a/b"):
        with pytest.raises(click.UsageError):
            with_port(wrong)
