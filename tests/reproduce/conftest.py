"""Servers with plain processes, and a folder of code whose results depend on its arguments."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_server import Server

TRAIN = """
import json, os, sys
out = os.environ["FETCHML_OUTPUTS"]
lr = float(sys.argv[1])
json.dump({"loss": lr * 2}, open(f"{out}/metrics.json", "w"))
open(f"{out}/model.bin", "wb").write(b"weights of %f" % lr)
print(lr, os.environ.get("FETCHML_PARAM_LR"), os.environ.get("SEED"), sys.argv[2:])
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    datasets = folder / "datasets"
    (datasets / "digits").mkdir(parents=True)
    (datasets / "digits/train.csv").write_text("1,2\n")
    started = Server(folder / "data", FETCHML_DATASETS_ROOT=str(datasets)).start()
    yield started
    assert started.stop() == 0


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def finished(server: Server, *arguments: str) -> str:
    """The id of a task that has completed."""
    task = json.loads(server.run("submit", "--wait", "--json", *arguments).succeeded())
    assert task["status"] == "completed", task
    return str(task["id"])
