"""`fetchml diff`: what differs between two tasks, and what the server does not show."""

from pathlib import Path
from typing import Any

from tests.reproduce.conftest import finished
from tests.support.cli_server import Server


def sections(server: Server, *arguments: str) -> dict[str, Any]:
    return {each["name"]: each for each in server.json("diff", *arguments)["sections"]}


def test_each_part_that_differs_is_shown(server: Server, code: Path, tmp_path: Path) -> None:
    run = ("--dir", str(code), "--dataset", "digits")
    one = finished(server, *run, "-e", "SEED=secret-one", "--", "python3", "train.py", "0.1")
    (code / "train.py").write_text((code / "train.py").read_text().replace("lr * 2", "lr * 3"))
    (code / "weights").write_bytes(b"\0\1")
    other = finished(server, *run, "-e", "SEED=secret-two", "--", "python3", "train.py", "0.1")

    found = sections(server, one, other, "--outputs")
    changed, added = found["code"]["changes"]
    assert changed["name"] == "train.py"
    assert '-json.dump({"loss": lr * 2}' in changed["diff"]
    assert added["name"] == "weights"
    assert added["note"] == "binary"
    assert "before" not in added
    [variable] = found["parameters"]["changes"]
    assert variable["name"] == "variable SEED"
    [loss] = found["results"]["changes"]
    assert (loss["name"], loss["before"], float(loss["after"])) == ("loss", "0.2", 0.1 * 3)
    assert [each["name"] for each in found["outputs"]["changes"]] == ["metrics.json"]
    outcomes = {name: each["outcome"] for name, each in found.items()}
    assert {name for name, each in outcomes.items() if each == "identical"} == {
        *("environment", "data", "image", "hardware")
    }
    shown = server.run("diff", one, other, "--outputs").succeeded()
    assert '+json.dump({"loss": lr * 3}' in shown
    assert "secret-" not in shown

    same = server.json("diff", one, one)
    assert same["outcome"] == "identical"


def test_changed_dataset_and_removed_snapshot(server: Server, code: Path) -> None:
    run = ("--dir", str(code), "--dataset", "digits", "--", "python3", "train.py", "1")
    one = finished(server, *run)
    data = server.data_dir.parent / "datasets/digits/train.csv"
    data.write_text("other numbers\n")
    (code / "new.py").write_text("")
    other = finished(server, *run)
    found = sections(server, one, other)
    [change] = found["data"]["changes"]
    assert change["name"] == "digits"
    assert change["before"] != change["after"]
    [added] = found["code"]["changes"]
    assert added["name"] == "new.py"

    snapshot = server.json("show", other)["snapshot_id"]
    server.run("snapshot", "rm", snapshot).succeeded()
    gone = sections(server, one, other)["code"]
    assert gone["outcome"] == "different"
    assert "no longer kept" in gone["note"]
    refused = server.run("rerun", other).failed(2)
    assert "snapshot not found" in refused


def test_task_of_another_user(tmp_path: Path, code: Path) -> None:
    server = Server(tmp_path / "data", FETCHML_AUTH_PRIVATE="true").start()
    try:
        ada, bob = (server.run("keys", "create", name).succeeded() for name in ("ada", "bob"))
        keys = {"ada": {"FETCHML_API_KEY": ada}, "bob": {"FETCHML_API_KEY": bob}}
        run = ("submit", "--dir", str(code), "--", "python3", "train.py", "1")
        own = server.run(*run, **keys["ada"]).succeeded()
        others = server.run(*run, **keys["bob"]).succeeded()
        for command in (
            ("diff", own, others),
            ("diff", others, own),
            ("rerun", others),
            ("reproduce", others),
            ("passport", others),
        ):
            assert "not found" in server.run(*command, **keys["ada"]).failed(5)
        assert server.run("diff", own, others).code == 0
    finally:
        server.stop()


def test_values_of_others_variables_are_not_compared(server: Server) -> None:
    keys = {
        name: {"FETCHML_API_KEY": server.run("keys", "create", name).succeeded()}
        for name in ("eve", "ann")
    }
    tasks = []
    for name, token in (("ann", "right"), ("eve", "wrong"), ("eve", "right")):
        run = ("submit", "-e", f"TOKEN={token}", "--", "true")
        tasks.append(server.run(*run, **keys[name]).succeeded())
    guesses = [
        server.run("diff", tasks[0], each, "--json", **keys["eve"]).succeeded()
        for each in tasks[1:]
    ]
    assert "TOKEN" not in guesses[0] + guesses[1]
    assert "variable TOKEN" in server.run("diff", *tasks[:2]).succeeded(), "an admin may know it"
