"""The Docker engine and image that all other Docker tests use."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from examples.local_image import build_base
from testbed.docker_engine import Engine, PrivateEngine, forward_policy, private_engine


def test_image_runs_python_and_a_shell_as_a_plain_user_on_a_read_only_root(
    docker_engine: Engine, python_image: str
) -> None:
    check = "import ssl, sqlite3, ctypes, asyncio, os; print(os.getuid(), os.access('/', os.W_OK))"
    for command in (["python", "-c", check], ["sh", "-c", f'exec python3 -c "{check}"']):
        output = docker_engine.client.containers.run(
            python_image,
            command,
            remove=True,
            user="1000:1000",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            network_mode="none",
        )
        assert output == b"1000 False\n"


def test_own_engine_keeps_images_and_containers_over_stop_and_crash(
    own_docker_engine: PrivateEngine,
) -> None:
    engine = own_docker_engine
    build_base(engine.client, "base:1")
    container = engine.client.containers.create(
        "base:1", ["sleep", "600"], network_mode="none", stop_signal="SIGKILL"
    )
    for end in (engine.stop, engine.kill):
        container.start()
        end()
        assert not engine.answers()
        engine.start()
        container.reload()
        assert container.status == "exited"


def test_private_engine_leaves_nothing_and_no_other_engine_affected(
    own_docker_engine: PrivateEngine,
) -> None:
    policy = forward_policy()
    with private_engine(own_network=False) as engine:
        build_base(engine.client, "base:1")
        engine.client.containers.run("base:1", ["sleep", "600"], detach=True, stop_signal="SIGKILL")
        folder = engine.folder
        engine.kill()
    assert not folder.exists()
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert not any(str(folder) in command for command in command_lines())
    assert forward_policy() == policy
    assert own_docker_engine.answers()


def command_lines() -> Iterator[str]:
    """Those of all processes."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            yield file.read_bytes().decode(errors="replace")
