"""`fetchml drill`, and the commands that read checkpoints."""

import json
from pathlib import Path

import pytest

from tests.support.cli_server import Server

pytestmark = pytest.mark.slow

TRAINING = Path(__file__).parents[2] / "examples/checkpoint/train.py"


def test_drill_of_a_script_reports_the_work_lost(server: Server, tmp_path: Path) -> None:
    # Slow enough to be killed three times, and to be cancelled then.
    pace = ("--", "--steps", "100000", "--every", "5", "--seconds", "0.02")
    done = server.run("drill", str(TRAINING), "--kills", "3", "--within", "2", "--seed", "1", *pace)
    lines = done.succeeded().splitlines()
    assert lines[0].split() == ["ATTEMPT", "RAN", "LOST", "SAVED"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert lines[4].startswith("3 kills: ")
    task = server.json("show", "@last")
    assert (task["checkpoint"], task.get("retry_count", 0)) == (True, 0)

    shown = server.run("outputs", "--checkpoint", task["id"]).succeeded()
    assert "training.json" in shown
    server.run("cp", f"{task['id']}:/checkpoint/training.json", str(tmp_path)).succeeded()
    assert json.loads((tmp_path / "training.json").read_text())["step"] >= 5
    missing = server.run("cp", f"{task['id']}:training.json", str(tmp_path))
    assert (missing.code, "not found in the outputs" in missing.err) == (5, True)

    server.run("cancel", task["id"]).succeeded()
    script = 'cat "$FETCHML_CHECKPOINT/training.json" | head -c 9'
    begun = server.run(
        "submit", "--wait", "--from-checkpoint", task["id"], "--", "sh", "-c", script
    )
    assert begun.succeeded() == '{"step": '
    after = server.run("show", "@last").succeeded()
    assert f"yes, begun from {task['id']}" in after
    ended = server.run("drill", task["id"])
    assert (ended.code, "has ended" in ended.err) == (1, True)


def test_drill_ends_with_its_task(server: Server, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('done')")
    done = server.run("drill", str(tmp_path / "train.py"), "--json", "--within", "60")
    assert json.loads(done.succeeded())["kills"] == []
    (tmp_path / "train.py").write_text("raise SystemExit(4)")
    failed = server.run("drill", str(tmp_path / "train.py"), "--kills", "3", "--within", "60")
    assert (failed.code, failed.out) == (1, "The task failed (exit code 4) after 0 of 3 kills\n")
    missing = server.run("drill", "nosuch.py")
    assert (missing.code, "File nosuch.py not found" in missing.err) == (5, True)
    wrong = server.run("drill", "@last", "argument")
    assert (wrong.code, "Arguments are passed to a script" in wrong.err) == (2, True)
