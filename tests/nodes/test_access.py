"""Tasks in containers on nodes are entered as those of one host: the same tests."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.access.conftest import Entered
from tests.access.test_exec import test_it_ends_with_the_key as test_exec_ends_with_the_key
from tests.access.test_exec import test_it_ends_with_the_task as test_exec_ends_with_the_task
from tests.access.test_exec import test_it_runs_as_the_task_does as test_as_the_task_does
from tests.access.test_exec import test_streams_and_exit_code as test_streams
from tests.access.test_ports import ECHO
from tests.access.test_ports import test_bytes_both_ways_and_the_end_of_one as test_port
from tests.access.test_ports import test_it_ends_with_the_key as test_port_ends_with_the_key
from tests.access.test_shell import test_terminal
from tests.nodes.conftest import in_full
from tests.nodes.means import Means
from tests.support.cli_server import Reached
from tests.support.program import ADMIN_KEY, Server

pytestmark = [pytest.mark.slow, in_full]
__all__ = [
    "test_as_the_task_does",
    "test_exec_ends_with_the_key",
    "test_exec_ends_with_the_task",
    "test_port",
    "test_port_ends_with_the_key",
    "test_streams",
    "test_terminal",
]


class OfSuite(Reached):
    """The server of the other tests, to which the command has to be told its key."""

    admin_key = ADMIN_KEY

    def __init__(self, server: Server) -> None:
        self.data_dir = server.data_dir
        self.http, self.grpc = server.http_address, server.grpc_address

    @property
    def variables(self) -> dict[str, str]:
        return {**super().variables, "FETCHML_API_KEY": ADMIN_KEY}


@pytest.fixture(scope="module")
def entered(server: Server, means: Means) -> Iterator[Entered]:
    with closing(Entered(OfSuite(server), means.name, image=means.jupyter)) as box:
        yield box


@pytest.fixture(scope="module")
def port(entered: Entered) -> int:
    return entered.serve(ECHO, "port")


def test_it_is_in_the_container(entered: Entered, means: Means) -> None:
    told = entered.exec("id -u; pwd; ls -d /secrets /root 2>&1; touch /etc/x")
    assert told[1].startswith(f"{means.uid}\n/workspace\n"), told
