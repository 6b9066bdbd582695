"""`fetchml secret`, and tasks that use secrets."""

import subprocess
from pathlib import Path

import pytest

from fetchml.cli.errors import ExitCode
from fetchml.client import Client, NotFound
from fetchml.v1.task_pb2 import SecretUse
from tests.support.cli_server import FETCHML, SECONDS, Ran, Server, environment
from tests.support.terminal import OnTerminal

VALUE = "value-of-a-secret"


def given(server: Server, value: bytes, *arguments: str) -> Ran:
    """The command with a value on its standard input."""
    done = subprocess.run(
        [*FETCHML, *arguments],
        input=value,
        capture_output=True,
        check=False,
        env=environment(**server.variables),
        timeout=SECONDS,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    return Ran(done.returncode, out, err)


def test_secret_from_set_to_rm(server: Server, tmp_path: Path) -> None:
    done = given(server, f"{VALUE}\n".encode(), "secret", "set", "TOKEN")
    assert done.succeeded() == "TOKEN is set"
    assert "ends with a line end, which is kept" in done.err
    trimmed = given(server, f"{VALUE}\r\n".encode(), "secret", "set", "TOKEN", "--trim")
    assert (trimmed.succeeded(), trimmed.err) == ("TOKEN is set", "")
    file = tmp_path / "key"
    file.write_text("line 1\nline 2\n")
    made = server.json("secret", "set", "KEY", "--file", str(file))
    assert made.keys() == {"name", "created_at", "updated_at"}
    listed = server.json("secret", "ls")["secrets"]
    assert [each["name"] for each in listed] == ["KEY", "TOKEN"]
    assert listed[1]["updated_at"] > listed[1]["created_at"]
    assert "TOKEN" in server.run("secret", "ls").succeeded()
    script = 'test ${#TOKEN} = 17; echo "$? $TOKEN"; cat "$FETCHML_SECRETS/KEY"'
    options = ("--secret", "TOKEN", "--secret", "KEY:file")
    task = server.run("submit", "--wait", *options, "--", "sh", "-c", script)
    assert task.out.endswith("0 ***\n***\n"), task.out
    shown = server.run("show", "@last").succeeded()
    assert "KEY, TOKEN" in shown or "TOKEN, KEY" in shown
    assert VALUE not in server.log
    for name in ("TOKEN", "KEY"):
        assert server.run("secret", "rm", name).succeeded() == f"{name} is removed"
    assert server.run("secret", "rm", "TOKEN").code == ExitCode.NOT_FOUND
    refused = server.run("submit", "--secret", "TOKEN", "--", "true").failed(ExitCode.USAGE)
    assert "secret TOKEN not found" in refused
    assert server.run("secret", "ls", "--user", "nobody").succeeded().split() == [
        "NAME",
        "MADE",
        "SET",
    ]


def test_value_is_asked_for_without_being_shown(server: Server) -> None:
    with OnTerminal(["secret", "set", "ASKED"], server.variables) as terminal:
        terminal.until("Value of ASKED")
        terminal.type(f"{VALUE}\r")
        terminal.until("ASKED is set")
        assert VALUE not in terminal.shown
    server.run("secret", "rm", "ASKED").succeeded()


def test_unusable_values(server: Server) -> None:
    for value, said in [
        (b"", "must not be empty"),
        (b"\xff\xfe", "not valid UTF-8"),
        (b"a\0b", "NUL"),
        (b"x" * 70_000, "64"),
    ]:
        refused = given(server, value, "secret", "set", "A")
        assert refused.code == ExitCode.USAGE
        assert said in refused.err or "65536" in refused.err
        assert server.run("secret", "rm", "A").code == ExitCode.NOT_FOUND


def test_value_is_no_argument(server: Server) -> None:
    assert server.run("secret", "set", "A", VALUE).code == ExitCode.USAGE
    assert server.run("submit", "--secret", "A:arg", "--", "true").code == ExitCode.USAGE


def test_python_client(server: Server) -> None:
    key = (server.data_dir / "admin.key").read_text().strip()
    with Client(server.grpc, key) as client:
        client.set_secret("TOKEN", VALUE)
        assert [each.name for each in client.secrets()] == ["TOKEN"]
        task = client.submit("a", command=["sh", "-c", "echo $TOKEN"], secrets=["TOKEN:env"])
        assert task.secrets == [SecretUse(name="TOKEN", **{"as": SecretUse.env})]
        done = client.wait(task.id)
        assert done.output == "***\n"
        client.delete_secret("TOKEN")
        with pytest.raises(NotFound):
            client.delete_secret("TOKEN")
        with pytest.raises(ValueError, match="is not NAME, NAME:env or NAME:file"):
            client.submit("a", secrets=["TOKEN:"])
