"""The limits on entries of tasks, and the rules of a request to enter one."""

from contextlib import ExitStack

import pytest

from fetchml.access.limits import ConcurrencyLimit, TooManyEntries
from fetchml.core.model import Principal, Role
from fetchml.core.requests.access import MAX_COMMAND_BYTES, ExecRequest, port_fault
from fetchml.errors import Overloaded


def test_limits_by_user_and_in_all() -> None:
    limit = ConcurrencyLimit("sessions", by_user=2, in_all=3)
    ada, bob, eve = (Principal(name, Role.USER, name, "::1") for name in ("ada", "bob", "eve"))
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(limit.hold(ada))
        with (
            pytest.raises(TooManyEntries, match="Limit of 2 sessions per user reached"),
            limit.hold(ada),
        ):
            pass
        stack.enter_context(limit.hold(bob))
        with (
            pytest.raises(Overloaded, match="Server limit of 3 sessions reached"),
            limit.hold(eve),
        ):
            pass
        assert len(limit) == 3
    assert (len(limit), limit.opened) == (0, 3)
    with limit.hold(ada):
        assert len(limit) == 1


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (ExecRequest(("sh",)), None),
        (ExecRequest(("sh", "")), None),
        (ExecRequest(("sh",), (24, 80)), None),
        (ExecRequest(()), "command: is required"),
        (ExecRequest(("", "a")), "command: is required"),
        (ExecRequest(("sh", "a\0b")), "command: must be valid Unicode"),
        (ExecRequest(("sh", "\udcff")), "command: must be valid Unicode"),
        (ExecRequest(("sh", *["a"] * 256)), "command: must not have more than 256"),
        (ExecRequest(("sh", "é" * (MAX_COMMAND_BYTES // 2))), "command: must not be longer"),
        (ExecRequest(("sh",), (0, 80)), "rows, columns: must be"),
        (ExecRequest(("sh",), (24, 1001)), "rows, columns: must be"),
        (ExecRequest(("sh",), (24, 80), "a\nb"), "term: must be"),
        (ExecRequest(("sh",), (24, 80), ""), "term: must be"),
    ],
)
def test_request_to_run_a_command(request_: ExecRequest, fault: str | None) -> None:
    found = request_.fault()
    assert found is None if fault is None else (found or "").startswith(fault)


def test_port() -> None:
    assert [port_fault(port) is None for port in (0, 1, 65_535, 65_536, -1)] == [
        *(False, True, True, False, False)
    ]
