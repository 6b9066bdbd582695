"""Tasks on nodes of a real Slurm are entered as those of one host: what a node could change of the
same tests, and the access of a private server."""

import pytest

from fetchml.client import NotFound
from fetchml.core.model import Role
from tests.access.conftest import Entered
from tests.access.test_exec import test_it_ends_with_the_task as test_exec_ends_with_the_task
from tests.access.test_exec import test_it_runs_as_the_task_does as test_as_the_task_does
from tests.access.test_exec import test_nothing_is_left_of_a_session as test_nothing_is_left
from tests.access.test_exec import test_streams_and_exit_code as test_streams
from tests.access.test_ports import echoed, port
from tests.access.test_ports import test_bytes_both_ways_and_the_end_of_one as test_port
from tests.access.test_shell import test_terminal as test_shell_of_the_page

__all__ = [
    "port",
    "test_as_the_task_does",
    "test_exec_ends_with_the_task",
    "test_nothing_is_left",
    "test_port",
    "test_shell_of_the_page",
    "test_streams",
]


@pytest.fixture(scope="session")
def entered(entered_on_slurm: Entered) -> Entered:
    return entered_on_slurm


def test_only_the_owner_and_admins_enter_on_a_private_server(entered: Entered, port: int) -> None:
    assert entered.admin.exec(entered.task_id, ["true"]).code == 0
    assert echoed(entered.admin, entered.task_id, port) == b"helloand 5 bytes"
    for other in (entered.client("bob"), entered.client("eve", Role.VIEWER)):
        with other:
            with pytest.raises(NotFound):
                other.exec(entered.task_id, ["true"])
            with pytest.raises(NotFound):
                echoed(other, entered.task_id, port)
            with pytest.raises(NotFound):
                other.open_port(entered.task_id, port)
