"""Accounts, QOS, licenses and reservations, on a real Slurm with slurmdbd that enforces them."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fetchml.core.model import Role
from fetchml.v1 import task_pb2
from testbed.slurm import Slurm, private_slurm
from tests.support.cli_server import run
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

Task = task_pb2.Task
PORTS = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
COLUMNS = "--format=%j|%a|%q"
RIGHTS = (
    "add account physics biology",
    "add qos single set GrpJobs=1",
    "add qos short set MaxSubmitJobsPerUser=1",
    "add qos secret",
    "add user root account=physics",
    "modify user root where account=physics set qos+=single,short",
)
"""root may use the accounts root and physics, and all QOS but the one named secret."""


@pytest.fixture(scope="module")
def accounts() -> Iterator[Slurm]:
    with private_slurm("Licenses=solver:1", accounting=True) as cluster:
        for words in RIGHTS:
            cluster.run("sacctmgr", "--immediate", *words.split())
        yield cluster


@pytest.fixture
async def server(serve: Serve, accounts: Slurm, transport_name: str, shared: Path) -> Server:
    variables = {
        "FETCHML_SLURM_ACCOUNT": "physics",
        "FETCHML_SLURM_USERS": "ada.account=root admin.qos=single",
        "FETCHML_SLURM_ALLOW": "account qos licenses reservation",
    }
    return await serve(backend_of(accounts, transport_name, shared), **variables).start()


async def cancelled(server: Server, *task_ids: str) -> None:
    for task_id in task_ids:
        await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
        assert (await server.ended(task_id)).failure_reason == Task.CANCELLED


async def waits_for(server: Server, task_id: str, reason: str) -> str:
    """Wait until Slurm names this reason; return what the user is told."""

    async def explained() -> str:
        return await server.explained(task_id)

    return await until(explained, lambda text: f"({reason})" in text)


async def test_job_has_the_account_and_qos_that_were_asked(server: Server, accounts: Slurm) -> None:
    """The request's go before those of the user, and these before the server's."""
    ada, _ = await server.clients(await server.key("ada", Role.USER))
    asked = {"job_name": "job", "command": ["true"]}
    reply = await ada.submit(asked)
    expected = {
        await server.submit("true"): "physics|single",
        await server.submit("true", slurm={"qos": "normal"}): "physics|normal",
        str(reply.json["id"]): "root|normal",
    }
    for task_id in expected:
        assert (await server.ended(task_id)).status == Task.completed
    lines = accounts.run("squeue", "--noheader", "--states=all", COLUMNS).splitlines()
    for task_id, words in expected.items():
        [line] = [line for line in lines if task_id in line]
        assert line.endswith(f"|{words}"), line
    facts = ("sacct", "--allocations", "--noheader", "--parsable2", "--format=jobname,account,qos")
    recorded = accounts.run(*facts)
    for task_id, words in expected.items():
        assert any(task_id in line and line.endswith(words) for line in recorded.splitlines())


async def test_account_or_qos_of_others_is_refused_with_slurms_words(
    server: Server, accounts: Slurm
) -> None:
    """The account exists, and so does one QOS; these tasks are handed over at once, as arrays."""
    account, qos = "Invalid account or account/partition combination", "Invalid qos specification"
    asked = [
        ({"account": "biology", "qos": "normal"}, account),
        ({"account": "biology", "qos": "normal"}, account),
        ({"account": "nobody", "qos": "normal"}, account),
        ({"qos": "secret"}, qos),
        ({"qos": "none"}, qos),
    ]
    task_ids = await asyncio.gather(
        *(server.submit("true", slurm=slurm, max_retries=3) for slurm, _ in asked)
    )
    for task_id, (_, words) in zip(task_ids, asked, strict=True):
        task = await server.ended(task_id)
        assert task.failure_reason == Task.PREPARE_FAILED
        assert task.error.startswith(f"Slurm refuses it: {words}"), task.error
        assert (task.attempt, task.retry_count) == (1, 0)
    assert not any(task_id in name for name in accounts.jobs() for task_id in task_ids)


async def test_limit_of_a_qos_is_the_reason_of_a_waiting_task(server: Server) -> None:
    first = await server.submit_running("sleep 300")
    second = await server.submit("true")

    said = await waits_for(server, second, "QOSGrpJobsLimit")
    assert said == (
        "It waits in Slurm's queue for room within a limit of its QOS (QOSGrpJobsLimit)."
    )
    await cancelled(server, first)
    assert (await server.ended(second)).status == Task.completed


async def test_limit_of_submits_holds_a_task_back(server: Server, accounts: Slurm) -> None:
    """A refusal that passes: the task waits with Slurm's words, and is no job yet."""
    first = await server.submit_running("sleep 300", slurm={"qos": "short"})
    second = await server.submit("true", slurm={"qos": "short"})

    async def explained() -> str:
        return await server.explained(second)

    said = await until(explained, lambda text: "Slurm does not take it now" in text)
    assert "Job violates accounting/QOS policy" in said
    assert not any(second in name for name in accounts.jobs())
    await cancelled(server, second, first)


async def test_task_waits_for_a_license(server: Server) -> None:
    asked = {"licenses": "solver:1", "qos": "normal"}
    first = await server.submit_running("sleep 300", slurm=asked)
    second = await server.submit("true", slurm=asked)
    said = await waits_for(server, second, "Licenses")
    assert said == "It waits in Slurm's queue for licenses that are free (Licenses)."
    await cancelled(server, first)
    assert (await server.ended(second)).status == Task.completed
    unknown = await server.ended(await server.submit("true", slurm={"licenses": "none:1"}))
    assert unknown.failure_reason == Task.PREPARE_FAILED
    assert unknown.error == "Slurm refuses it: Invalid license specification"


async def test_task_waits_for_its_reservation_and_runs_there(
    server: Server, accounts: Slurm
) -> None:
    asked = {"reservation": "own", "qos": "normal"}
    own = ("reservation", "ReservationName=own")
    terms = ("Users=root", "StartTime=now+1hour", "Duration=60", "Nodes=c3")
    accounts.run("scontrol", "create", *own, *terms)
    try:
        task_id = await server.submit("true", slurm=asked)
        said = await waits_for(server, task_id, "Reservation")
        assert said == "It waits in Slurm's queue for its reservation (Reservation)."
        accounts.run("scontrol", "update", *own, "StartTime=now")
        task = await server.ended(task_id)
        assert (task.status, task.worker_id) == (Task.completed, "c3")
    finally:
        accounts.run("scontrol", "delete", "ReservationName=own")
    unknown = await server.ended(await server.submit("true", slurm=asked))
    assert unknown.failure_reason == Task.PREPARE_FAILED
    assert unknown.error == "Slurm refuses it: Requested reservation is invalid"


async def test_tasks_run_while_slurmdbd_is_away(server: Server, accounts: Slurm) -> None:
    accounts.kill_daemon("slurmdbd")
    try:
        task_id = await server.submit("true")
        assert (await server.ended(task_id)).status == Task.completed
        assert await server.health() == "healthy"
    finally:
        accounts.start_daemon("slurmdbd")
        listed = ("sacctmgr", "show", "qos", "format=name")
        await eventually(lambda: "single" in accounts.run(*listed, check=False))


def finding(tmp_path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    ran = run("doctor", "--json", "--data-dir", str(tmp_path / "data"), *PORTS, **variables)
    checks = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    found: dict[str, Any] = checks["cluster accounts"]
    return found


def test_doctor_names_missing_associations(accounts: Slurm, shared: Path, tmp_path: Path) -> None:
    variables = {**backend_of(accounts, "cli", shared).variables}
    found = finding(tmp_path, variables)
    assert (found["ok"], found["says"]) == (True, "root has physics, root")
    granted = {"FETCHML_SLURM_ACCOUNT": "physics", "FETCHML_SLURM_QOS": "single"}
    assert finding(tmp_path, variables | granted)["ok"]
    wrong = {
        "FETCHML_SLURM_ACCOUNT": "biology",
        "FETCHML_SLURM_USERS": "ada.account=physics ada.qos=secret",
        "FETCHML_SLURM_ALLOW": "account=root qos=none",
    }
    found = finding(tmp_path, variables | wrong)
    assert found["says"] == (
        "[slurm]: root has no association with account biology; "
        "[slurm.users.ada]: root may not use QOS secret with account physics; "
        "[slurm] allow qos=none: root may not use QOS none"
    )
    assert "sacctmgr add user root account=ACCOUNT" in found["mend"]


def test_doctor_of_a_cluster_without_accounts(slurm: Slurm, shared: Path, tmp_path: Path) -> None:
    found = finding(tmp_path, {**backend_of(slurm, "cli", shared).variables})
    assert (found["ok"], found["says"]) == (True, "the cluster does not enforce accounts")
