"""Streams of a quiet task outlive cuts that are further apart than the patience."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fetchml.client import CallError, Client, Options, Unreachable, status_name
from tests.client.relay import Relay
from tests.client.test_python import until_exists
from tests.support.cli_server import SECONDS, Server

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 2
APART_SECONDS = PATIENCE_SECONDS + 0.5
STREAMS = 2


def test_a_wait_and_a_log_outlive_cuts(relay: Relay, key: str, tmp_path: Path) -> None:
    cuts: list[CallError] = []
    options = Options(patience=PATIENCE_SECONDS, on_cut=cuts.append)
    with Client(relay.address, key, options=options) as client, ThreadPoolExecutor() as threads:
        task = client.submit("quiet", command=until_exists(tmp_path / "go"))
        wait = threads.submit(client.wait, task.id)
        log = threads.submit(lambda: b"".join(c.data for c in client.logs(task.id, follow=True)))
        for number in (1, 2):
            time.sleep(APART_SECONDS)
            assert len(cuts) == STREAMS * (number - 1)
            relay.cut()
        time.sleep(APART_SECONDS)
        (tmp_path / "go").touch()
        assert status_name(wait.result(SECONDS)) == "completed"
        assert log.result(SECONDS) == b"one\ntwo\n"
    assert [type(cut) for cut in cuts] == [Unreachable] * STREAMS * 2


def test_submit_wait_shows_that_it_is_connected_again(
    server: Server, relay: Relay, key: str, tmp_path: Path
) -> None:
    command = ("submit", "--wait", "--", *until_exists(tmp_path / "go"))
    reach = {"FETCHML_SERVER": relay.address, "FETCHML_API_KEY": key}
    with server.begin(*command, **reach) as waiting:
        assert waiting.stderr is not None
        said = iter(waiting.stderr.readline, "")

        def until(words: str) -> None:
            assert any(words in line for line in said)

        until("running")
        relay.cut()
        until("retrying")
        until("running")
        (tmp_path / "go").touch()
        waiting.communicate(timeout=SECONDS)
    assert waiting.returncode == 0
