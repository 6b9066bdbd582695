"""`fetchml whatif` against a real server."""

from collections.abc import Iterator

import pytest

from fetchml.server.wiring import REPLAYED
from tests.support.cli_server import Server
from tests.support.terminal import run_on_terminal


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two GPU slots, one for each user, on which three tasks ran."""
    variables = {"FETCHML_GPU_SLOTS": "2", "FETCHML_QUOTAS_USER_GPUS": "1"}
    server = Server(tmp_path_factory.mktemp("limited") / "data", **variables).start()
    ids = [server.run("submit", "--gpu", "1", "--", "sleep", "0.5").succeeded() for _ in range(3)]
    for task_id in ids:
        server.run("watch", task_id).succeeded()
    yield server
    assert server.stop() == 0


def test_unchanged_it_repeats_the_recorded_starts(limited: Server) -> None:
    shown = limited.run("whatif").succeeded()
    assert ": 3 tasks\n" in shown
    assert "With nothing changed, the replay repeats 3 of 3 recorded starts." in shown
    assert "Note" not in shown
    rows = {line.split("  ")[0]: line.split() for line in shown.splitlines()}
    assert rows["GPUs in use"][-1] == rows["GPUs in use"][-2] != "0%"
    assert rows["Tasks that wait at the end"][-2:] == ["0", "0"]


def test_a_changed_quota_and_gpus_stand_above_the_table(limited: Server) -> None:
    shown = limited.run("whatif", "--set", "quotas.user_gpus=2", "--gpus", "3").succeeded()
    assert "\nquotas.user_gpus: 1 -> 2\ngpus: 2 -> 3\n" in shown
    found = limited.json("whatif", "--since", "1h", "--set", "quotas.user_gpus=0")
    assert found["replayed"]["waits"]["p90"] < found["recorded"]["waits"]["p90"]
    assert [user["user_id"] for user in found["recorded"]["users"]] == ["admin"]


def test_the_table_fits_a_terminal_of_80_columns(limited: Server) -> None:
    text = run_on_terminal(["whatif", "--gpus", "1"], limited.variables, columns=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "P90 REPLAYED" in text
    assert "(all users)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--set quotas.user_gpu=1", "unknown setting quotas.user_gpu; expected one of"),
        ("--set quotas.user_gpus=x", 'quotas.user_gpus: expected int; it is "x"'),
        ("--set quotas.user_gpus", "is not KEY=VALUE"),
        ("--gpus -1", "gpus: must be between 0 and 1024"),
        ("--since 1h --until 2h", "since: must be before until"),
        ("--until 10d", "until: must be after"),
        ("--since soon", "is not a time such as"),
    ],
)
def test_a_wrong_option_is_named(limited: Server, words: str, message: str) -> None:
    ran = limited.run("whatif", *words.split())
    assert ran.code != 0
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_users_are_refused(limited: Server) -> None:
    key = limited.json("keys", "create", "ada")["secret"]
    refused = limited.run("whatif", FETCHML_API_KEY=key)
    assert refused.code != 0
    assert "Only admins replay the history" in refused.err


def test_the_help_lists_every_setting(limited: Server) -> None:
    shown = limited.run("whatif", "--help").succeeded()
    assert all(name in shown.split() for name in REPLAYED)
    assert "docs/history.md" in shown
