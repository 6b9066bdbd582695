"""Every text field that the server takes, with texts that nobody should send: the answer is an
error of the client's or a success, the server lives and starts again, and no command has run that
has no record."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fetchml.core.requests import text
from fetchml.files import untrusted
from fetchml.files.attempt_folder import AttemptFolder
from tests.hostile.grpc_text_channels import disconnect, grpc_channels
from tests.hostile.raw import (
    SERVER_SETTINGS,
    Marks,
    all_tasks,
    ask,
    assert_log_is_safe,
    assert_no_ghosts,
    submit,
)
from tests.hostile.test_text import restarted, until_idle
from tests.hostile.text_channels import OTHER_CHANNELS, REST_CHANNELS, SLOW, Channel, raw, texts
from tests.support.cli_server import Server

pytestmark = pytest.mark.slow

MOST_READ = 100
"""Tasks whose records and logs are read after they have ended."""
WORST = "a\ud800\0\r\n\u202e"
GROUPS = {"rest": REST_CHANNELS, "grpc": [*grpc_channels()], "others": OTHER_CHANNELS}


@pytest.mark.parametrize("group", GROUPS)
def test_any_text_fails_at_most_its_own_request(group: str, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", **SERVER_SETTINGS).start()
    marks = Marks(tmp_path / "ran")

    @settings(deadline=None, suppress_health_check=SLOW)
    @given(st.sampled_from(GROUPS[group]), texts)
    def send(channel: Channel, value: str) -> None:
        channel(server, marks, value)

    for channel in GROUPS[group]:
        send = example(channel, WORST)(send)
    try:
        send()
        made = submit(server.http, {"job_name": "last", "command": marks.command()})
        assert made.status == 201
        until_idle(server)
        for task in all_tasks(server)[:MOST_READ]:
            place = b"/v1/tasks/%s" % task["id"].encode()
            for path in (b"?view=full", b"/logs", b"/logs/info", b"/explain", b"/usage"):
                assert ask(server.http, b"GET", place + path).status in (200, 409), task
        assert group != "others" or (tmp_path / "ran.1").exists(), "no file was written by a task"
        server = restarted(server)
        assert_no_ghosts(server, marks)
        assert_log_is_safe(server)
    finally:
        disconnect(server)
        if server.process.poll() is None:
            assert server.stop() == 0, server.log


# Shim files


@settings(suppress_health_check=SLOW)
@given(
    name=st.sampled_from(["claim", "started", "exit", "log.00000000000000000000", "log.x"]),
    keys=st.lists(
        st.sampled_from(
            [b"pid", b"at_ms", b"started_ms", b"code", b"signal", b"error", b"boot_id", b"revoked"]
        )
    ),
    value=texts,
)
def test_any_text_in_a_run_folder_is_readable(
    tmp_path: Path, name: str, keys: list[bytes], value: str
) -> None:
    folder = AttemptFolder(tmp_path / "attempt")
    untrusted.remove(folder.path)
    folder.create(os.geteuid(), os.getegid())
    lines = [b"code=0", b"at_ms=5", *(key + b"=" + raw(value) for key in keys), raw(value)]
    (folder.run / name).write_bytes(b"\n".join(lines))
    claim, end = folder.claim(), folder.end()
    folder.started()
    assert len(folder.tail()) <= 1 << 16
    if claim is not None:
        assert text.storable(claim) is claim
    if end is not None:
        assert text.storable(end) is end
        assert text.line_fault(end.start_error or "") is None
        assert len(end.start_error or "") <= 500
