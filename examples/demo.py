"""FetchML in half a minute: start the server, train on real data, watch the task, open the page.

    make demo

The task runs in a container where a Docker engine answers, else as a plain process.
`--launcher` chooses. The demo keeps all its files in `.demo` (`--data-dir`).
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from examples.local_image import build_base

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
FETCHML = ROOT / ".venv/bin/fetchml"
IMAGE = "fetchml-demo:1"


def main() -> None:
    parser = argparse.ArgumentParser(description="Show FetchML at work.")
    parser.add_argument("--launcher", choices=["docker", "process"], help="how the task runs")
    parser.add_argument(
        "--data-dir", type=Path, default=ROOT / ".demo", help="folder for all files"
    )
    args = parser.parse_args()
    data_dir = args.data_dir.absolute()
    launcher = args.launcher or ("docker" if docker_answers() else "process")
    if launcher == "docker":
        where = "in a container"
        task = ["--image", IMAGE, "--dataset", "digits", "--", "python", "/data/digits/train.py"]
        make_image()
    else:
        where = "as a plain process"
        task = ["--", sys.executable, str(EXAMPLES / "digits/train.py")]

    for name in [name for name in os.environ if name.startswith("FETCHML_")]:
        del os.environ[name]  # settings for another server
    os.environ["FETCHML_DATA_DIR"] = str(data_dir)
    with server(launcher, data_dir) as (http, grpc):
        os.environ["FETCHML_SERVER"] = grpc
        say(f"FetchML is ready: REST on http://{http}, gRPC on {grpc}. The task runs {where}.")
        fetchml("submit", "--wait", "--name", "digits", *task)
        say("The task is now in the history, with its results:")
        fetchml("ls", "--limit", "3")
        listed = json.loads(fetchml("ls", "--limit", "1", "--json", quiet=True))
        task_id = listed["tasks"][0]["id"]
        show_result(data_dir / "tasks" / task_id / "outputs")
        show_curves(http, data_dir, task_id)
        if sys.stdin.isatty() and sys.stdout.isatty():
            show_page()
    show_next_steps(launcher, task, data_dir)


def docker_answers() -> bool:
    try:
        docker.from_env(timeout=5).close()
    except DockerException:
        return False
    return True


def make_image() -> None:
    """Build the image with scikit-learn, unless it exists."""
    with closing(docker.from_env()) as client:
        try:
            client.images.get(IMAGE)
        except ImageNotFound:
            say(f"Building the image {IMAGE} from this machine's Python, once (about 20 s) ...")
            build_base(client, IMAGE, ["scikit-learn"])


@contextmanager
def server(launcher: str, data_dir: Path) -> Iterator[tuple[str, str]]:
    """Run a server on free ports, and yield its addresses of REST and gRPC."""
    data_dir.mkdir(mode=0o700, exist_ok=True)  # the server's log shows its first key
    log = data_dir / "server.log"
    command = [str(FETCHML), "serve", "--launcher", launcher]
    command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    settings = {**os.environ, "FETCHML_DATASETS_ROOT": str(EXAMPLES)}
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            env=settings,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # Ctrl-C is for the client; the server is stopped below
        ) as process,
    ):
        try:
            assert process.stdout
            ready = process.stdout.readline().split()
            if not ready:
                sys.exit(f"The server did not start:\n{log.read_text()}")
            http, grpc = (word.partition("=")[2] for word in ready[1:])
            yield http, grpc
        finally:
            process.send_signal(signal.SIGTERM)


def fetchml(*arguments: str, quiet: bool = False) -> str:
    """Run a command of the client, and show it with its output; return its output if `quiet`."""
    if not quiet:
        say(f"$ {shlex.join(['fetchml', *arguments])}")
    output = subprocess.PIPE if quiet else None
    done = subprocess.run([FETCHML, *arguments], check=False, stdout=output, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


def show_result(outputs: Path) -> None:
    metrics = json.loads((outputs / "metrics.json").read_text())
    say(f"Result: {metrics['test_accuracy']:.2%} of unseen digits recognized.")
    for file in sorted(outputs.iterdir()):
        print(f"  {file}  {file.stat().st_size / 1024:.0f} KiB")


def show_curves(http: str, data_dir: Path, task_id: str) -> None:
    """Show the ends of the curves that the server read while the task ran."""
    request = urllib.request.Request(
        f"http://{http}/v1/curves?run_ids={task_id.replace('-', '')}",
        headers={"X-API-Key": (data_dir / "admin.key").read_text().strip()},
    )
    with urllib.request.urlopen(request) as reply:  # noqa: S310 - the server above
        curves = json.load(reply)["curves"]
    say("Its curves, which the page draws while the task runs:")
    for curve in curves:
        x, values = curve["x"], curve["last"]
        first, last = f"{values[0]:.4f} in epoch {x[0]:g}", f"{values[-1]:.4f} in epoch {x[-1]:g}"
        print(f"  {curve['metric']:14} {first}, {last}")


def show_page() -> None:
    """Show the link to the page, and keep the server running until Ctrl-C."""
    link = fetchml("ui", quiet=True).strip()
    # Ctrl-C is held back until `sigwait`. Otherwise one that comes a moment earlier is lost, or
    # interrupts the lines below.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    say("The page, with this task in it. The link signs in once, within two minutes:")
    print(f"\n  {link}")
    say("The server runs until Ctrl-C.")
    signal.sigwait({signal.SIGINT})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    print()


def show_next_steps(launcher: str, task: Sequence[str], data_dir: Path) -> None:
    train = shlex.join([*task, "--epochs", "200"])
    say("The server has stopped, and its data is kept. To continue:")
    print(
        f"""
  export PATH={FETCHML.parent}:$PATH FETCHML_DATA_DIR={data_dir}
  FETCHML_DATASETS_ROOT={EXAMPLES} fetchml serve --launcher {launcher} &
  fetchml submit {train}
  fetchml watch                                # every change, live
  fetchml ls
  fetchml ui --open                            # the page, in the browser
  curl -H "X-API-Key: $(cat {data_dir}/admin.key)" http://127.0.0.1:9101/v1/tasks
  fetchml --help
"""
    )


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
