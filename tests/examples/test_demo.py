"""The demo, as `make demo` runs it."""

import codecs
import http.client
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from examples import demo
from testbed.docker_engine import Engine
from tests.support.parallel import WORKER

IMAGE = f"fetchml-test/demo{WORKER}:1"
"""Of this test alone: other programs on the engine may use the demo's own."""
WITH_IMAGE = f"from examples import demo; demo.IMAGE = {IMAGE!r}; demo.main()"


@pytest.mark.slow
def test_demo_with_the_docker_launcher(
    tmp_path: Path, docker_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    arguments = ["--launcher", "docker", "--data-dir", str(tmp_path)]
    try:
        shown = subprocess.check_output([sys.executable, "-c", WITH_IMAGE, *arguments], text=True)
    finally:
        docker_engine.client.images.remove(IMAGE, force=True)
    assert "digits  completed" in shown
    check_shown(shown, tmp_path)


def test_demo_on_a_terminal_ends_with_the_link_to_the_page(tmp_path: Path) -> None:
    """The server runs until Ctrl-C, so that the link leads somewhere."""
    arguments = ["--launcher", "process", "--data-dir", str(tmp_path)]
    inside, outside = pty.openpty()
    with subprocess.Popen(
        [sys.executable, demo.__file__, *arguments],
        stdin=outside,
        stdout=outside,
        stderr=outside,
        start_new_session=True,
    ) as process:
        os.close(outside)
        shown = read_until(inside, "runs until Ctrl-C")
        found = re.search(r"http://([\w.:]+)/ui/#code=fml_code_[\w-]{43}\s", shown)
        assert found
        with closing(http.client.HTTPConnection(found[1])) as connection:
            connection.request("GET", "/ui/")
            assert b"<title>FetchML</title>" in connection.getresponse().read()
        process.send_signal(signal.SIGINT)
        check_shown(shown + read_until(inside, "fetchml --help"), tmp_path)
        assert process.wait(120) == 0
    os.close(inside)


def read_until(terminal: int, text: str) -> str:
    # A read may end within a character.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    shown = ""
    while text not in shown:
        readable, _, _ = select.select([terminal], [], [], 120)
        assert readable, shown
        try:
            shown += decoder.decode(os.read(terminal, 65536))
        except OSError:  # nobody has the terminal open any more
            pytest.fail(f"{text!r} is missing: {shown}")
    return shown


def check_shown(shown: str, data_dir: Path) -> None:
    (metrics,) = data_dir.glob("tasks/*/outputs/metrics.json")
    accuracy = json.loads(metrics.read_text())["test_accuracy"]
    assert accuracy > 0.95
    assert re.search(r"loss +0\.\d+ in epoch 1, 0\.\d+ in epoch 25", shown)
    for part in ("epoch 25/25", f"Result: {accuracy:.2%}", "fetchml submit", "fetchml ui --open"):
        assert part in shown
    assert (data_dir / "admin.key").read_text().strip() not in shown
