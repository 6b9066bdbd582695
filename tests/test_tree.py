"""The shape of the tree: small files, small folders, no way around the layers."""

import ast
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = ("benchmarks", "build", "examples", "fetchml", "proto", "testbed", "tests")
GENERATED = ("fetchml/v1/", "build/work/", "build/dist/")
MOST_LINES = 400
MOST_MODULES = 25
MOST_AT_TOP = 6
NOT_IMPORTED = {
    "fetchml": {"benchmarks", "examples", "testbed", "tests"},
    "testbed": {"benchmarks", "tests"},
    "benchmarks": {"tests"},
    "tests": {"benchmarks"},
}


def sources(tree: str) -> Iterator[Path]:
    # What is generated is not even looked at: a release may be made there meanwhile.
    for name, folders, files in os.walk(ROOT / tree):
        folder = Path(name).relative_to(ROOT)
        folders[:] = [each for each in folders if f"{folder}/{each}/" not in GENERATED]
        yield from (Path(name) / file for file in files if file.endswith(".py"))


@pytest.mark.parametrize("tree", TREES)
def test_no_file_is_long(tree: str) -> None:
    lines = {path: len(path.read_text().splitlines()) for path in sources(tree)}
    assert lines
    assert {path for path, count in lines.items() if count > MOST_LINES} == set()


def test_no_folder_is_large() -> None:
    modules = Counter(path.parent for path in sources("fetchml") if path.name != "__init__.py")
    del modules[ROOT / "fetchml/cli"]  # One file a command.
    assert {folder for folder, count in modules.items() if count > MOST_MODULES} == set()
    assert len(list((ROOT / "fetchml").glob("*.py"))) <= MOST_AT_TOP


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", [name.name for name in node.names]


@pytest.mark.parametrize(("tree", "others"), NOT_IMPORTED.items())
def test_trees_are_apart(tree: str, others: set[str]) -> None:
    for path in sources(tree):
        for module, names in imports(path):
            assert module.split(".")[0] not in others, path
            assert "*" not in names, path
