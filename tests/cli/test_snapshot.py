"""Snapshots of folders, from this machine to a task, against a real server."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from fetchml.cli import project_folder
from fetchml.cli.connect import connected
from fetchml.client import BadFolder, snapshots
from fetchml.client.snapshots import SourceTree, read_entries, read_tree, write_archive
from fetchml.core.snapshots import Entry
from tests.cli.test_commands import rest
from tests.support.cli_server import Server
from tests.support.commands import ran

Patch = pytest.MonkeyPatch

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
    done = ran(["git", *who, *arguments], cwd=root, check=True)
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
    assert "; uploading " in first.err
    again = server.run("submit", "--wait", "--dir", str(code), "-e", "LR=0.2")
    assert again.succeeded() == f"{files} 0.2"
    assert "already on the server" in again.err
    task = server.json("ls", "--limit", "1")["tasks"][0]
    assert task["job_name"] == "digits"
    assert task["command"] == ["python3", "train.py"]
    assert task["metadata"] == {"git_commit": commit, "git_dirty": "false"}
    kept = server.json("snapshot", "show", task["snapshot_id"])
    assert kept == rest(server, f"/v1/snapshots/{task['snapshot_id']}")
    assert (kept["git_commit"], kept["git_dirty"]) == (commit, False)
    assert (code / "src/a.py").read_text() == "1"


def test_snapshot_from_create_to_rm(server: Server, code: Path) -> None:
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
    unknown = server.run("submit", "--wait", "--snapshot", made, "--", "true").failed(125)
    assert "snapshot_id: snapshot not found" in unknown


def test_a_bad_fetchml_toml_is_refused_with_its_line(server: Server, code: Path) -> None:
    write(code, "fetchml.toml", 'command = ["true"]\n\ncpus = 2\n')
    refused = server.run("submit", "--dir", str(code)).failed(2)
    assert "fetchml.toml: line 3: cpus is not a setting: did you mean cpu?" in refused


def test_an_empty_folder_is_refused(server: Server, tmp_path: Path) -> None:
    assert "nothing to send" in server.run("snapshot", "create", str(tmp_path)).failed(2)


def test_a_link_to_outside_is_refused_before_the_upload(server: Server, code: Path) -> None:
    (code / "data").symlink_to("/srv/data")
    refused = server.run("snapshot", "create", str(code)).failed(2)
    assert "data is a link that does not stay inside" in refused
    assert ".fetchmlignore" in refused
    write(code, ".fetchmlignore", "/data\n")
    assert server.run("snapshot", "create", str(code)).code == 0


# The files of a snapshot


def test_a_snapshot_includes_the_files_that_git_tracks_or_would_track(code: Path) -> None:
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


def test_nested_repositories_use_their_own_ignore_files(code: Path) -> None:
    write(code, "inner/x.py", "1")
    write(code, "inner/y.tmp", "1")
    write(code, "inner/.gitignore", "*.tmp\n")
    committed(code / "inner")
    git(code, "init", "-q")
    assert [path for path in read_tree(code).paths if path.startswith("inner")] == [
        "inner/.gitignore",
        "inner/x.py",
    ]


def test_without_git_the_same_files_are_included(code: Path) -> None:
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


def test_files_behind_a_link_are_not_included_twice(code: Path) -> None:
    """A link has replaced a tracked folder."""
    committed(code)
    (code / "src").rename(code / "moved")
    (code / "src").symlink_to("moved")
    tree = read_tree(code)
    assert [path for path in tree.paths if path.endswith(("src", "a.py"))] == ["moved/a.py", "src"]
    assert {entry.path for entry in read_entries(tree)} == set(tree.paths)


def test_hidden_untracked_files_make_the_commit_dirty(code: Path) -> None:
    committed(code)
    git(code, "config", "status.showUntrackedFiles", "no")
    assert not read_tree(code).git_dirty
    write(code, "new.py", "1")
    assert read_tree(code).git_dirty


def test_variables_of_a_git_hook_are_ignored(
    code: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    commit = committed(code)
    write(tmp_path / "other", "other.py", "1")
    assert committed(tmp_path / "other") != commit
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    tree = read_tree(code)
    assert (tree.git_commit, tree.git_dirty) == (commit, False)
    assert "train.py" in tree.paths


def test_no_other_file_includes_what_fetchmlignore_excludes(code: Path) -> None:
    write(code, ".fetchmlignore", "*.pem\n!weights.bin\n")
    write(code, "src/.gitignore", "!*.pem\n")
    write(code, "src/key.pem", "secret")
    for tree in (read_tree(code), committed(code) and read_tree(code)):
        assert isinstance(tree, SourceTree)
        assert "src/key.pem" not in tree.paths
        assert "weights.bin" not in tree.paths, "nor does it bring back what git ignores"


def test_a_git_file_is_not_included(code: Path) -> None:
    write(code, ".git", "gitdir: /nowhere\n")
    assert ".git" not in read_tree(code).paths


@pytest.mark.parametrize("with_git", [False, True])
def test_unreadable_files_are_reported(
    code: Path, tmp_path: Path, monkeypatch: Patch, with_git: bool
) -> None:
    """Root can read every file, so the errors of the system are simulated."""
    if with_git:
        committed(code)
        real = shutil.which("git")
        write(
            tmp_path,
            "bin/git",
            f'#!/bin/sh\n{real} "$@" || exit\n'
            "echo \"warning: could not open directory 'src/': Permission denied\" >&2\n",
        )
        (tmp_path / "bin/git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    else:
        scandir = os.scandir

        def refuse(path: str) -> Any:
            if Path(path).name == "src":
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadFolder, match=r"src.*: Permission denied"):
        read_tree(code)


def test_a_folder_that_changes_during_the_upload_is_reported(
    server: Server, code: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pack_another(tree: SourceTree, entries: list[Entry], archive: BinaryIO) -> None:
        (code / "src/a.py").write_text("2")
        write_archive(tree, entries, archive)

    (code / "new").write_text("no other test has sent the like")
    monkeypatch.setattr(snapshots, "write_archive", pack_another)
    key = (server.data_dir / "admin.key").read_text().strip()
    with connected(server.grpc, key) as client:
        kept, _ = project_folder.upload_folder(client, code)
    assert f"the snapshot is {kept.id[:12]}" in capsys.readouterr().err


def test_a_name_that_is_not_utf_8(code: Path) -> None:
    (code / "a\udcff").touch()
    with pytest.raises(BadFolder, match="not UTF-8"):
        read_entries(read_tree(code))


def test_json_goes_to_stdout_alone(server: Server, code: Path) -> None:
    made = server.run("snapshot", "create", str(code), "--json")
    assert json.loads(made.succeeded())["file_count"] == 4
