"""Fuzz targets: files of environments, sweeps and settings, and files that tasks write."""

import re
import tempfile
from contextlib import suppress
from pathlib import Path

from fetchml.cli.errors import CommandError
from fetchml.cli.sweep import parameters
from fetchml.config.loader import ConfigError, load
from fetchml.core.environments import (
    BadFile,
    has_local_sources,
    project_needs_tree,
    read_requirements,
    script_metadata,
)
from fetchml.core.reported_metrics import MAX_METRICS, metrics_in
from fetchml.core.requests import text
from fetchml.core.snapshots import path_fault
from fetchml.environments.builds import MAX_CHARACTERS, uv_message
from tests.fuzz.target import NUMBERS, STEERING, SURROGATES, Target


def requirements(data: bytes) -> None:
    content = data.decode(errors="replace")
    for path in ("requirements.txt", "a/b/requirements.txt"):
        for included in read_requirements(path, content).included:
            assert path_fault(included) is None


def inline_metadata(data: bytes) -> None:
    """A script with its block, and the two files of a project."""
    content = data.decode(errors="replace")
    project_needs_tree(content, data)
    block = script_metadata(content)
    assert block.startswith("# /// script\n")
    assert block.endswith("# ///\n")
    has_local_sources(block)


def words_of_uv(data: bytes) -> None:
    words = uv_message(data)
    assert len(words) <= MAX_CHARACTERS + 3
    assert not any(c in words for c in "\0\x1b\x7f\r\n")
    assert re.search(r"://(?!\*\*\*@)[^/\s]*@", words) is None


def sweep_file(data: bytes) -> None:
    """A file of parameters as TOML, JSON, a table [sweep], CSV, and JSON lines."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("sweep.toml", "sweep.json", "runs.csv", "runs.jsonl", parameters.PROJECT_FILE):
            path = Path(folder, name)
            path.write_bytes(data)
            with suppress(CommandError):
                if name.startswith("runs"):
                    table = parameters.read_table(path)
                    assert len({len(list(column)) for column in table.values()}) <= 1  # type: ignore[arg-type]
                    continue
                found = parameters.read_project(Path(folder))
                found = found if name == parameters.PROJECT_FILE else parameters.read_file(path)
                parameters.parameters_of(found.get("parameters", {}), name)


def settings_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "fetchml.toml")
        file.write_bytes(data)
        load(file, {}, {})


def metrics_file(data: bytes) -> None:
    found = metrics_in(data)
    assert len(found) <= MAX_METRICS
    for name, value in found.items():
        assert text.is_valid(name)
        assert abs(value) < float("inf")


TARGETS: dict[str, Target] = {
    "requirements": Target(
        requirements,
        [
            b"numpy==2.0 ; python_version > '3'  # x\n-r more.txt\n--constraint=a/../b.txt\n",
            b"torch[a,b] @ https://example.org/x.whl \\\n  --hash=sha256:00\n--find-links ./w\n",
        ],
        [
            *SURROGATES,
            *STEERING,
            b"\n",
            b"\\\n",
            b"-r ",
            b"-c",
            b"-e .",
            b"--requirement=",
            b"../",
            b"file:",
            b"git+https://",
            b"#",
            b"[",
            b"]",
            b"@",
            b" " * 50,
            b"a" * 50,
            b"'",
        ],
        (BadFile,),
    ),
    "inline_metadata": Target(
        inline_metadata,
        [b'import x\n# /// script\n# dependencies = ["a"]\n# [tool.uv]\n# ///\nrun()\n'],
        [
            *SURROGATES,
            *STEERING,
            b"\n",
            b"# /// script",
            b"# ///",
            b"#",
            b"# ",
            b"dynamic =",
            b'source = { editable = "../x" }',
        ],
        (BadFile,),
    ),
    "words_of_uv": Target(
        words_of_uv,
        [
            b"Resolved 3 packages\nerror: Failed to fetch: `https://u:geheim@h/a`\n  Caused by: x",
            b"\x1b[31merror\x1b[0m: no\n + a==1\n",
        ],
        [*SURROGATES, *STEERING, b"error: ", b"://", b"@", b"/", b"\x1b[", b"m", b"a" * 900, b"\n"],
    ),
    "sweep_file": Target(
        sweep_file,
        [
            b'name = "a"\n[parameters]\nlr = [0.1, 0.2]\nseed = "1..5"\nx = {uniform = [0, 1]}\n',
            b'{"parameters": {"lr": {"values": [1, true, "a"]}}, "mode": "zip"}',
            b"lr,seed\n0.1,1\n0.2,2\n",
            b'{"lr": 0.1}\n{"lr": 0.2}\n',
            b'[sweep]\nmode = "random"\nsamples = 3\n[sweep.parameters]\nx = "uniform(0,1)"\n',
        ],
        [
            *SURROGATES,
            *STEERING,
            *NUMBERS,
            b"[",
            b"]",
            b"{",
            b"}",
            b"=",
            b",",
            b'"',
            b"\n",
            b"..",
            b"uniform(",
            b")",
            b"parameters",
            b"[sweep]",
            b"[" * 300,
            b"nan",
            b"inf",
            b"1979-05-27",
            b"a.b.",
        ],
        share=2,
    ),
    "settings_file": Target(
        settings_file,
        [
            b'[server]\nhttp = "127.0.0.1:8080"\n[tasks]\nallow_images = ["a/*"]\n',
            b"[quotas]\nuser_running = 5\n[volumes.a]\npath = '/a'\nmode = 'ro'\n",
        ],
        [
            *SURROGATES,
            *STEERING,
            *NUMBERS,
            b"[",
            b"]",
            b"=",
            b'"',
            b"\n",
            b"server",
            b"[tasks]",
            b"[volumes.",
            b"http =",
            b"{}",
            b"inf",
            b"1979-05-27",
            b"~",
            b"[" * 300,
        ],
        (ConfigError,),
    ),
    "metrics_file": Target(
        metrics_file,
        [b'{"loss": 0.5, "steps": 1e3, "name": "x"}'],
        [*SURROGATES, *NUMBERS, b"{", b"}", b'"', b":", b",", b"NaN", b"Infinity", b"[" * 300],
        share=0.5,
        is_json=True,
    ),
}
