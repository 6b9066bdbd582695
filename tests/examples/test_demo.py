"""The demo, as `make demo` runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples import demo
from testbed.docker_engine import Engine


def test_demo_with_the_process_launcher(tmp_path: Path) -> None:
    show_demo(tmp_path, "process")


def test_demo_with_the_docker_launcher(
    tmp_path: Path, docker_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    images = docker_engine.client.images
    there_before = images.list(demo.IMAGE)
    try:
        show_demo(tmp_path, "docker")
    finally:
        if not there_before:
            images.remove(demo.IMAGE)


def show_demo(data_dir: Path, launcher: str) -> None:
    command = [sys.executable, demo.__file__, "--launcher", launcher, "--data-dir", str(data_dir)]
    shown = subprocess.check_output(command, text=True)
    (metrics,) = data_dir.glob("tasks/*/outputs/metrics.json")
    accuracy = json.loads(metrics.read_text())["test_accuracy"]
    assert accuracy > 0.95
    for part in ("epoch 25/25", "digits  completed", f"Result: {accuracy:.2%}", "fetchml submit"):
        assert part in shown
    assert (data_dir / "admin.key").read_text().strip() not in shown
