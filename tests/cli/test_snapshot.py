"""Folders of code, from this machine to a task: the commands against a real server."""

import json
import subprocess
from pathlib import Path

import pytest

from fetchml.client import BadFolder
from fetchml.client.pack import entries_in
from fetchml.client.tree import read_tree
from tests.cli.server import Server
from tests.cli.test_commands import rest

TRAIN = """
import os, pathlib
print(sorted(str(p) for p in pathlib.Path().rglob("*")), os.environ["LR"])
pathlib.Path("src/a.py").write_text("changed")
pathlib.Path("new").touch()
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    root = tmp_path / "digits"
    write(root, "src/a.py", "1")
    write(root, "train.py", TRAIN)
    write(root, "fetchml.toml", 'command = ["python3", "train.py"]\n[env]\nLR = "0.1"\n')
    write(root, ".gitignore", "*.bin\n")
    write(root, "weights.bin", "large")
    return root


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def committed(root: Path) -> str:
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return git(root, "rev-parse", "HEAD")


def test_a_folder_is_sent_once_and_run(server: Server, code: Path) -> None:
    commit = committed(code)
    first = server.run("submit", "--wait", "--dir", str(code))
    files = "['.gitignore', 'fetchml.toml', 'src', 'src/a.py', 'train.py']"
    assert first.succeeded() == f"{files} 0.1"
    assert "5 files" not in first.err
    assert ": 4 files, " in first.err
    assert "; sending " in first.err
    again = server.run("submit", "--wait", "--dir", str(code), "-e", "LR=0.2")
    assert again.succeeded() == f"{files} 0.2"
    assert "the server has it" in again.err
    task = server.json("ls", "--limit", "1")["tasks"][0]
    assert task["job_name"] == "digits"
    assert task["command"] == ["python3", "train.py"]
    assert task["metadata"] == {"git_commit": commit, "git_dirty": "false"}
    kept = server.json("snapshot", "show", task["snapshot_id"])
    assert kept == rest(server, f"/v1/snapshots/{task['snapshot_id']}")
    assert (kept["git_commit"], kept["git_dirty"]) == (commit, False)
    assert (code / "src/a.py").read_text() == "1"


def test_from_create_to_rm(server: Server, code: Path) -> None:
    made = server.run("snapshot", "create", str(code)).succeeded()
    assert server.json("snapshot", "ls") == rest(server, "/v1/snapshots")
    assert made in server.run("snapshot", "ls").succeeded()
    assert server.run("snapshot", "show", made[:10]).succeeded().startswith("id")
    with_id = server.run("submit", "--wait", "--snapshot", made[:10], "--", "cat", "src/a.py")
    assert with_id.succeeded() == "1"
    both = server.run("submit", "--snapshot", made, "--dir", str(code))
    assert both.code == 2
    assert server.run("snapshot", "rm", made[:10]).succeeded() == f"{made} is removed"
    gone = server.run("snapshot", "show", made)
    assert gone.code == 5
    unknown = server.run("submit", "--wait", "--snapshot", made, "--", "true")
    assert unknown.code == 1
    assert f"there is no snapshot '{made}' here" in unknown.err


def test_a_bad_fetchml_toml_is_refused_with_its_line(server: Server, code: Path) -> None:
    write(code, "fetchml.toml", 'command = ["true"]\n\ncpus = 2\n')
    refused = server.run("submit", "--dir", str(code))
    assert refused.code == 2
    assert "fetchml.toml: line 3: cpus is not a setting: did you mean cpu?" in refused.err


def test_nothing_to_send(server: Server, tmp_path: Path) -> None:
    nothing = server.run("snapshot", "create", str(tmp_path))
    assert nothing.code == 2
    assert "nothing to send" in nothing.err


def test_a_link_that_leads_out_is_refused_here(server: Server, code: Path) -> None:
    (code / "data").symlink_to("/srv/data")
    refused = server.run("snapshot", "create", str(code))
    assert refused.code == 2
    assert "data is a link that does not stay inside" in refused.err
    assert ".fetchmlignore" in refused.err
    write(code, ".fetchmlignore", "/data\n")
    assert server.run("snapshot", "create", str(code)).code == 0


# What is code


def test_git_decides_what_is_code(code: Path) -> None:
    for path in ("new.py", "kept.bin", "deep/x.bin", "deep/secret.txt"):
        write(code, path, "1")
    git(code, "init", "-q")
    git(code, "add", "-f", "kept.bin")
    write(code, "deep/.fetchmlignore", "secret.*\n")
    assert read_tree(code).git_commit is None
    commit = committed(code)
    tree = read_tree(code)
    assert tree.paths == [
        ".gitignore", "deep/.fetchmlignore", "fetchml.toml", "kept.bin", "new.py", "src/a.py",
        "train.py",
    ]  # fmt: skip
    assert (tree.git_commit, tree.git_dirty) == (commit, False)
    write(code, "untracked.py", "1")
    (code / "train.py").unlink()
    tree = read_tree(code)
    assert tree.git_dirty
    assert "untracked.py" in tree.paths
    assert "train.py" not in tree.paths
    assert read_tree(code / "src").paths == ["a.py"]


def test_repositories_inside_are_read_as_their_own(code: Path) -> None:
    write(code, "inner/x.py", "1")
    write(code, "inner/y.tmp", "1")
    write(code, "inner/.gitignore", "*.tmp\n")
    committed(code / "inner")
    git(code, "init", "-q")
    assert [path for path in read_tree(code).paths if path.startswith("inner")] == [
        "inner/.gitignore",
        "inner/x.py",
    ]


def test_without_git_the_same_files_are_code(code: Path) -> None:
    write(code, "out/.gitignore", "*\n!keep.py\n!.gitignore\n")
    write(code, "out/keep.py", "1")
    write(code, "out/drop.py", "1")
    write(code, "cache/x.py", "1")
    write(code, ".gitignore", "*.bin\n/cache/\n")
    (code / "link").symlink_to("src")
    without = read_tree(code)
    committed(code)
    assert read_tree(code).paths == without.paths
    assert without.paths == [
        ".gitignore", "fetchml.toml", "link", "out/.gitignore", "out/keep.py", "src/a.py",
        "train.py",
    ]  # fmt: skip
    assert without.git_commit is None


def test_a_name_that_is_not_utf_8(code: Path) -> None:
    (code / "a\udcff").touch()
    with pytest.raises(BadFolder, match="not UTF-8"):
        entries_in(read_tree(code))


def test_json_goes_to_stdout_alone(server: Server, code: Path) -> None:
    made = server.run("snapshot", "create", str(code), "--json")
    assert json.loads(made.succeeded())["file_count"] == 4
