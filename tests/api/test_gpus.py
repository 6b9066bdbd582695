"""GPUs over REST and gRPC, on real sockets, with the real core below."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from fetchml.api.message_fields import EXPLANATION, GPUS
from fetchml.auth.audit import Audit
from fetchml.core.gpus.allocator import Gpu
from fetchml.core.gpus.health import GpuProcess, GpuReading
from fetchml.core.model import Principal, Role, Status
from fetchml.engine.gpus.report import GpuCondition, GpuReport, GpuStatus
from fetchml.system.clock import Clock
from fetchml.views import Explanation, GpuUse, Shortage, StartEstimate
from tests.support import rest_world
from tests.support.memory_store import MemoryStore
from tests.support.stub_gpus import gpu_box, reading, stranger

PATH = "/v1/gpus"


async def listed(client: rest_world.Client) -> list[Any]:
    reply = await client.get(PATH)
    assert reply.status == 200
    gpus: list[Any] = reply.json["gpus"]
    return gpus


async def test_host_without_gpus_lists_none(rest: rest_world.World) -> None:
    rest.box.see(problem="no NVIDIA driver")
    assert (await rest.client.get(PATH)).json == {"gpus": [], "problem": "no NVIDIA driver"}


async def test_gpu_shows_all_known_fields(rest: rest_world.World) -> None:
    program = GpuProcess(7, "python3", 2048, task_id="t")
    rest.box.see(reading(0), driver="570.86.10", notes=("MIG is half set up",))
    assert rest.box.run("t") == ("GPU-0000",)
    rest.box.see(
        reading(0, used_mb=2648, utilisation_percent=97, processes=(program,)),
        driver="570.86.10",
        notes=("MIG is half set up",),
    )
    reply = await rest.client.get(PATH)
    assert reply.json == {
        "gpus": [
            {
                "uuid": "GPU-0000",
                "number": 0,
                "name": "NVIDIA H100",
                "state": "held",
                "task_ids": ["t"],
                "memory_mb": 81_920,
                "memory_used_mb": 2648,
                "temperature_c": 31,
                "utilisation_percent": 97,
                "processes": [{"pid": 7, "name": "python3", "memory_mb": 2048, "task_id": "t"}],
            }
        ],
        "driver": "570.86.10",
        "notes": ["MIG is half set up"],
    }


async def test_every_gpu_state_has_its_reason(rest: rest_world.World) -> None:
    rest.box.see(
        reading(0),
        reading(1, processes=(stranger(),)),
        reading(2, lost="it has fallen off the bus"),
        reading(3, recovery_action=1),
        reading(4, trouble="the driver does not answer"),
        reading(5, parent="GPU-5", uuid="MIG-5"),
    )
    found = {gpu["number"]: gpu for gpu in await listed(rest.client)}
    assert [(gpu["state"], gpu.get("reason")) for gpu in found.values()] == [
        ("free", None),
        ("busy", "busy: python3 (pid 4711, 2.1 GiB)"),
        ("lost", "lost: it has fallen off the bus"),
        # The server itself takes a sick GPU out of use.
        ("sick", "sick: it must be reset"),
        ("unknown", "unknown: the driver does not answer"),
        ("free", None),
    ]
    assert found[5]["parent_uuid"] == "GPU-5"
    assert found[1]["processes"] == [{"pid": 4711, "name": "python3", "memory_mb": 2150}]
    assert found[3]["drained_by"] == "the server (sick: it must be reset)"


async def test_drain_and_undrain(rest: rest_world.World) -> None:
    rest.box.see(reading(0), reading(1))
    admin = rest.as_(rest.secrets[Role.ADMIN])
    drained = await admin.ask("POST", f"{PATH}/GPU-0000/drain")
    assert drained.status == 200
    assert (drained.json["state"], drained.json["drained_by"]) == ("drained", "admin")
    assert rest.box.run("t") == ("GPU-1000",)
    assert rest.box.run("u") == (), "it waits: one is held, the other drained"
    again = await admin.ask("POST", f"{PATH}/GPU-0000/drain")
    assert (again.status, again.json) == (200, drained.json)
    back = await admin.ask("POST", f"{PATH}/GPU-0000/undrain")
    assert (back.status, back.json["state"]) == (200, "held")
    assert back.json["task_ids"] == ["u"]
    assert rest.box.inventory.forgiven == ["GPU-0000"]
    assert [(entry.action, entry.target) for entry in rest.store.audit] == [
        ("gpu.drain", "GPU-0000"),
        ("gpu.drain", "GPU-0000"),
        ("gpu.undrain", "GPU-0000"),
    ]


async def test_unknown_gpu_returns_404(rest: rest_world.World) -> None:
    for uuid in ["GPU-9", "0", "GPU-000", "%00", "..%2f..", "x" * 5000]:
        rest.box.see(reading(0))
        admin = rest.as_(rest.secrets[Role.ADMIN])
        for verb in ("drain", "undrain"):
            reply = await admin.ask("POST", f"{PATH}/{uuid}/{verb}")
            assert (reply.status, reply.code) == (404, "NOT_FOUND")
            assert len(reply.error) < 300
        assert [gpu["state"] for gpu in await listed(admin)] == ["free"]


async def test_private_mode_hides_others_tasks_on_gpus() -> None:
    store: Any = MemoryStore()
    box = await gpu_box(store, Audit(store, clock_ms=Clock()), private=True)
    box.see(reading(0))
    box.run("secret", user="ada")
    box.see(reading(0, processes=(GpuProcess(7, "python3", 9, task_id="secret"),)))
    owner, other, admin = (
        str(GPUS.json(box.gpus.list(Principal(user, role, ""))))
        for user, role in (("ada", Role.USER), ("bob", Role.USER), ("root", Role.ADMIN))
    )
    assert "secret" in owner
    assert owner == admin
    assert "secret" not in other
    assert "'pid'" not in other
    assert "'held'" in other


async def test_gpu_metrics(rest: rest_world.World) -> None:
    rest.box.see(reading(0, utilisation_percent=25), reading(1, used_mb=None, temperature_c=None))
    task_id = (await rest.client.submit({"job_name": "a", "gpu": 1})).json["id"]
    use = [GpuUse(task_id, "user", 12.5, 3.5)]
    rest.engine.replace("gpu_use", lambda _: use, rest.engine.engine.status)
    lines = (await rest.client.get("/metrics")).body.decode().splitlines()
    one = 'gpu="GPU-0000",name="NVIDIA H100"'
    for line in (
        f'fetchml_gpu_state{{{one},state="free"}} 1.0',
        f'fetchml_gpu_state{{{one},state="lost"}} 0.0',
        f"fetchml_gpu_utilisation_ratio{{{one}}} 0.25",
        f"fetchml_gpu_temperature_celsius{{{one}}} 31.0",
        f"fetchml_gpu_memory_used_bytes{{{one}}} 6.291456e+08",
        f'fetchml_task_gpu_seconds{{task_id="{task_id}",user="user"}} 12.5',
        f'fetchml_task_gpu_idle_seconds{{task_id="{task_id}",user="user"}} 3.5',
    ):
        assert line in lines
    # A value that a GPU does not report has no sample.
    assert not [line for line in lines if "GPU-1000" in line and "temperature" in line]


async def test_full_view_shows_a_tasks_gpus(rest: rest_world.World) -> None:
    """Without `view=full` only the contract's fields are shown."""
    asked = {"job_name": "a", "gpu": 2, "preemptible": True}
    made = (await rest.client.submit(asked, "/v1/tasks?view=full")).json
    assert (made["preemptible"], made["preempted"], made["infra_retries"]) == (True, 0, 0)
    assert not made.keys() & {"gpu_uuids", "ahead"}
    await rest.engine.change(
        made["id"],
        status=Status.PREPARING,
        gpu_uuids=("GPU-0", "GPU-1"),
        prestaged=True,
        infra_retries=1,
        preempted=2,
    )
    one = f"/v1/tasks/{made['id']}"
    seen = (await rest.client.get(f"{one}?view=full")).json
    assert {name: seen[name] for name in ("gpu_uuids", "ahead", "infra_retries", "preempted")} == {
        "gpu_uuids": ["GPU-0", "GPU-1"],
        "ahead": True,
        "infra_retries": 1,
        "preempted": 2,
    }
    basic = (await rest.client.get(one)).json
    assert not basic.keys() & {"gpu_uuids", "ahead", "preemptible", "preempted", "infra_retries"}


def same(body: Any, message: Any) -> bool:
    """Return whether a REST body and a gRPC message are equal. Times on whole seconds differ only
    in their format."""
    shown = MessageToDict(message, preserving_proto_field_name=True)
    return bool(_plain(body) == _plain(shown))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.replace(".000Z", "Z") if isinstance(value, str) else value


SMALL = st.integers(0, 2**31 - 1)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
PROCESSES = st.builds(
    GpuProcess, SMALL, WORDS, st.none() | SMALL, task_id=st.none() | WORDS.filter(bool)
)
READINGS = st.builds(
    GpuReading,
    WORDS,
    used_mb=st.none() | SMALL,
    temperature_c=st.none() | st.integers(-50, 200),
    utilisation_percent=st.none() | st.integers(0, 100),
    processes=st.lists(PROCESSES, max_size=3).map(tuple),
)
STATUSES = st.builds(
    GpuStatus,
    SMALL,
    st.builds(Gpu, WORDS, WORDS, SMALL, parent=st.none() | WORDS),
    st.sampled_from(GpuCondition),
    st.none() | WORDS,
    st.lists(WORDS, max_size=2).map(tuple),
    st.none() | WORDS,
    st.none() | READINGS,
)


REPORTS = st.builds(
    GpuReport,
    st.lists(STATUSES, max_size=3).map(tuple),
    st.none() | WORDS,
    st.none() | WORDS,
    st.lists(WORDS, max_size=2).map(tuple),
)


@given(REPORTS)
def test_rest_and_grpc_show_the_same_gpus(report: GpuReport) -> None:
    shown = MessageToDict(GPUS.message(report), preserving_proto_field_name=True)
    assert _plain(GPUS.json(report)) == {"gpus": [], **_plain(shown)}


@given(
    st.builds(
        Explanation,
        WORDS,
        st.sampled_from(Status),
        WORDS,
        st.none() | SMALL,
        st.lists(
            st.builds(Shortage, WORDS, SMALL, SMALL, SMALL, st.lists(WORDS, max_size=2).map(tuple)),
            max_size=2,
        ).map(tuple),
        st.none() | WORDS,
        st.none()
        | st.builds(StartEstimate, SMALL, SMALL, SMALL, st.none() | SMALL, st.none() | SMALL),
    )
)
def test_rest_and_grpc_show_the_same_explanation(shown: Explanation) -> None:
    assert same(EXPLANATION.json(shown), EXPLANATION.message(shown))
