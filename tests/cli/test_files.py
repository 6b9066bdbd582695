"""Logs in parts, and outputs that are listed and downloaded."""

import re
from pathlib import Path

from tests.cli.test_commands import submit
from tests.support.cli_server import Server

LINES = 'i=0; while [ $i -lt 100 ]; do echo "line $i"; i=$((i + 1)); done'


def task_of(server: Server, script: str) -> str:
    """A task that has ended."""
    task_id = submit(server, "--", "sh", "-c", script)
    server.run("watch", task_id).succeeded()
    return task_id


def test_parts_of_a_log(server: Server) -> None:
    task_id = task_of(server, LINES)
    assert server.run("logs", "--tail", "2", task_id).succeeded() == "line 98\nline 99"
    assert server.run("logs", "--tail", "0", task_id).succeeded() == ""
    found = server.run("logs", "--grep", "ne 5", task_id).succeeded().splitlines()
    assert found == ["line 5", *(f"line {number}" for number in range(50, 60))]
    assert server.run("logs", "--since", "1d", "-f", task_id).succeeded().endswith("line 99")
    stamped = server.run("logs", "-t", "--tail", "1", task_id).succeeded()
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} line 99", stamped)
    assert server.run("logs", "--since", "yesterday", task_id).code == 2


def test_each_attempt_has_a_log(server: Server) -> None:
    script = 'echo "attempt $FETCHML_ATTEMPT"; [ "$FETCHML_ATTEMPT" = 2 ]'
    task_id = submit(server, "--retries", "1", "--", "sh", "-c", script)
    followed = server.run("logs", "-f", task_id).succeeded()
    assert followed.splitlines()[-1] == "attempt 2"
    assert server.json("show", task_id)["attempt"] == 2
    assert server.run("logs", task_id).succeeded() == "attempt 2", "the last one by default"
    for number in (1, 2):
        shown = server.run("logs", "--attempt", str(number), task_id).succeeded()
        assert shown == f"attempt {number}"
        followed = server.run("logs", "-f", "--attempt", str(number), task_id).succeeded()
        assert followed == f"attempt {number}", "no attempt after it"
    missing = server.run("logs", "--attempt", "3", task_id)
    assert (missing.code, missing.out) == (5, "")
    assert "Attempt 3 not found" in missing.err
    assert "It has had 2." in missing.err
    assert server.run("logs", "--attempt", "0", task_id).code == 2


def test_outputs_are_listed_and_downloaded(server: Server, tmp_path: Path) -> None:
    script = 'cd "$FETCHML_OUTPUTS"; mkdir d; echo one > a; head -c 1000000 /dev/zero > d/zeros'
    task_id = task_of(server, script)
    listed = server.run("outputs", task_id).succeeded()
    assert re.search(r"^a +4 B", listed, re.MULTILINE)
    assert [file["path"] for file in server.json("outputs", task_id)["outputs"]] == ["a", "d/zeros"]
    into = tmp_path / "results"
    got = server.run("outputs", task_id, "--download", str(into))
    assert "2 of 2 files downloaded" in got.err
    assert (into / "a").read_text() == "one\n"
    assert (into / "d/zeros").read_bytes() == bytes(1_000_000)
    again = server.run("outputs", task_id, "--download", str(into))
    assert "0 of 2 files downloaded; 2 were there already" in again.err


def test_copies_continue(server: Server, tmp_path: Path) -> None:
    script = 'cd "$FETCHML_OUTPUTS"; mkdir d; echo content > a; echo two > d/b'
    task_id = task_of(server, script)
    server.run("cp", f"{task_id}:a", str(tmp_path)).succeeded()
    assert (tmp_path / "a").read_text() == "content\n"
    etag = server.json("outputs", task_id)["outputs"][0]["etag"]
    (tmp_path / f"a.{etag}.part").write_text("CON")
    (tmp_path / "a").unlink()
    server.run("cp", f"{task_id}:/outputs/a", str(tmp_path / "a")).succeeded()
    assert (tmp_path / "a").read_text() == "CONtent\n", "it continues after what was there"
    (tmp_path / f"a.{'0' * 24}.part").write_text("of another file")
    server.run("cp", f"{task_id}:a", str(tmp_path / "a")).succeeded()
    assert (tmp_path / "a").read_text() == "content\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    server.run("cp", f"{task_id[-6:]}:d", str(tmp_path / "folder")).succeeded()
    assert (tmp_path / "folder/b").read_text() == "two\n"
    missing = server.run("cp", f"{task_id}:nothing", str(tmp_path))
    assert (missing.code, "File 'nothing' not found in the" in missing.err) == (5, True)
    assert server.run("cp", "no-colon", str(tmp_path)).code == 2


def test_hostile_names_stay_in_the_folder(server: Server, tmp_path: Path) -> None:
    script = (
        "import os; os.chdir(os.environ['FETCHML_OUTPUTS']); "
        "open('..\\\\up', 'w').write('1'); open('\\x1b[31mred', 'w').write('2')"
    )
    task_id = submit(server, "--", "python3", "-c", script)
    server.run("watch", task_id).succeeded()
    listed = server.run("outputs", task_id)
    assert "\x1b" not in listed.succeeded()
    server.run("outputs", task_id, "--download", str(tmp_path / "in")).succeeded()
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == [".._up", "_[31mred"]
