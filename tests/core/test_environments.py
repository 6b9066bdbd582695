"""The field `environment`, and what uv reads for it."""

import time
from contextlib import suppress

import pytest

from fetchml.core.environments import (
    BadFile,
    has_local_sources,
    project_needs_tree,
    read_requirements,
    script_metadata,
)
from fetchml.core.requests.submission import field_fault

MOST_SECONDS = 2.0
"""For the largest hostile file on a loaded machine: linear work takes a twentieth of it."""


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"requirements": "requirements.txt"},
        {"requirements": "conf/all.txt"},
        {"project": "."},
        {"project": "lib"},
        {"script": "train.py"},
    ],
)
def test_valid_environments(value: object) -> None:
    assert field_fault("environment", value) is None


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("requirements.txt", "must be an object"),
        ([], "must be an object"),
        ({"requirements": "a", "script": "b"}, "nothing else"),
        ({"requirement": "a"}, "nothing else"),
        ({"requirements": None}, "null"),
        ({"requirements": 1}, "string"),
        ({"requirements": ""}, "empty"),
        ({"requirements": "/etc/passwd"}, "absolute"),
        ({"requirements": "../../etc/passwd"}, ".."),
        ({"requirements": "."}, "."),
        ({"project": "./"}, "empty part"),
        ({"script": "a\0b"}, "NUL"),
        ({"script": "a\ud800"}, "Unicode"),
        ({"script": "a" * 2000}, "longer"),
    ],
)
def test_invalid_environments(value: object, rule: str) -> None:
    assert rule in (field_fault("environment", value) or "")


@pytest.mark.parametrize(
    ("content", "included", "needs_tree"),
    [
        ("", (), False),
        ("numpy==2.0\nscikit-learn>=1.5 ; python_version > '3.9'\n", (), False),
        ("a==1 \\\n  --hash=sha256:0 \\\n  --hash=sha256:1\nb\n", (), False),
        ("# a comment\nfoo[bar,baz] ~= 1.2  # -e .\n", (), False),
        ("--index-url https://index.example.org/simple\nfoo\n", (), False),
        ("foo @ https://example.org/foo.whl\nhttps://example.org/bar.zip\n", (), False),
        ("git+https://example.org/a.git@main\n", (), False),
        ("-r other.txt\n-c limits/a.txt\n", ("other.txt", "limits/a.txt"), False),
        ("--requirement=other.txt\r\n-rmore.txt", ("other.txt", "more.txt"), False),
        ("./lib\n", (), True),
        ("lib @ file:lib\n", (), True),
        ("wheels/a-1-py3-none-any.whl\n", (), True),
        ("--find-links wheels\nfoo\n", (), True),
        (".\n", (), True),
    ],
)
def test_requirements(content: str, included: tuple[str, ...], needs_tree: bool) -> None:
    assert read_requirements("requirements.txt", content) == (included, needs_tree)


def test_includes_are_relative_to_the_file() -> None:
    assert read_requirements("conf/a.txt", "-r b.txt\n-r ../c.txt\n").included == (
        "conf/b.txt",
        "c.txt",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("numpy\n-e .\n", "line 2: editable"),
        ("--editable ./lib", "line 1: editable"),
        ("-r ../../etc/passwd", "does not lie in the snapshot"),
        ("-r /etc/passwd", "does not lie in the snapshot"),
        ("-c file:///etc/passwd", "not a file of the snapshot"),
        ("-r https://example.org/a.txt", "not a file of the snapshot"),
    ],
)
def test_refused_requirements(content: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        read_requirements("requirements.txt", content)


@pytest.mark.parametrize(
    "content",
    [
        "a" + " " * (1 << 20) + "x",
        "\\\n" * (1 << 19),
        "-r" + "\t" * (1 << 20),
        "#" * (1 << 20),
        "[" * (1 << 20),
        "a" * (1 << 20),
        "a @ " * (1 << 18),
        "--find-links " + "a" * (1 << 20),
        "--find-links " + "git+" * (1 << 18),
        "a" * (1 << 20) + "/",
    ],
)
def test_hostile_requirements_take_linear_time(content: str) -> None:
    began = time.thread_time()
    with suppress(BadFile):
        read_requirements("requirements.txt", content)
    assert time.thread_time() - began < MOST_SECONDS


BLOCK = '# /// script\n# dependencies = ["numpy"]\n#\n# ///\n'


def test_script_metadata_leaves_the_code_out() -> None:
    assert script_metadata(f"#!/usr/bin/env python\n{BLOCK}import numpy\n") == BLOCK
    assert not has_local_sources(BLOCK)
    assert has_local_sources('# /// script\n# [tool.uv.sources]\n# a = { path = "a" }\n# ///\n')


@pytest.mark.parametrize(
    "content", ["import numpy\n", "# /// script\n# dependencies = []\nimport numpy\n# ///\n", ""]
)
def test_script_without_metadata(content: str) -> None:
    with pytest.raises(BadFile, match="PEP 723"):
        script_metadata(content)


def test_many_unfinished_blocks_take_linear_time() -> None:
    began = time.thread_time()
    with pytest.raises(BadFile):
        script_metadata("# /// script\n" * 80_000)
    assert time.thread_time() - began < MOST_SECONDS


@pytest.mark.parametrize(
    ("pyproject", "lock", "needs_tree"),
    [
        ('[project]\nname = "a"\n', 'source = { virtual = "." }\n', False),
        ('[project]\nname = "a"\n', 'source = { editable = "." }\n', False),
        ('[project]\nname = "a"\n', 'source = { registry = "https://example.org" }\n', False),
        ('[project]\nname = "a"\n', 'source = { editable = "packages/b" }\n', True),
        ('[project]\nname = "a"\n', 'source = { path = "b.whl" }\n', True),
        ('[project]\ndynamic = ["version"]\n', "", True),
    ],
)
def test_project(pyproject: str, lock: str, needs_tree: bool) -> None:
    assert project_needs_tree(pyproject, lock.encode()) is needs_tree


@pytest.mark.parametrize(("path", "needs_tree"), [("packages/b", True), (".", False)])
def test_source_is_found_wherever_it_lies_in_a_large_lock(path: str, needs_tree: bool) -> None:
    line = f'source = {{ editable = "{path}" }}\n'.encode()
    for before in range((1 << 20) - 40, (1 << 20) + 5, 4):
        lock = b"#" * before + b"\n" + line
        assert project_needs_tree("", lock) is needs_tree, before
