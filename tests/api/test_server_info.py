"""The server's description of itself, and the doctor's findings."""

import pytest

import fetchml
from fetchml.core.model import Role
from fetchml.ports.gpu import GpuState
from fetchml.views import Finding
from tests.support.rest_world import World


async def test_server_shows_what_a_request_may_use(rest: World) -> None:
    info = (await rest.client.get("/v1/server")).json
    assert (info["version"], info["launcher"]) == (fetchml.__version__, "idle")
    assert (info["image"], info["command"]) == ("python:3.12-slim", ["python", "train.py"])
    assert (info["cpu"], info["memory_gb"], info["gpu"]) == (64, 256, 8)
    assert (info["user_id"], info["role"], info["private"]) == ("user", "user", False)
    assert info["allow_images"] == ["*"]
    assert info["datasets"] == ["datasets", "snapshots"], "the folders in the root of this test"
    assert info["jupyter_images"] == []
    assert set(info["quotas"].values()) == {0}
    assert info["task_limits"]["max_retries"] == 0
    admin = (await rest.as_(rest.secrets[Role.ADMIN]).get("/v1/server")).json
    assert (admin["user_id"], admin["role"]) == ("admin", "admin")


async def test_doctor_is_for_admins_and_examines_once(
    rest: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined = list[GpuState | None]()

    def examine(gpus: GpuState | None) -> list[Finding]:
        examined.append(gpus)
        return [Finding("disk", "9 MiB free", "Free some space."), Finding("clock", "is well")]

    diagnosis = rest.engine.engine.diagnosis
    monkeypatch.setattr(diagnosis, "_examine", examine)
    for role in (Role.USER, Role.VIEWER):
        reply = await rest.as_(rest.secrets[role]).get("/v1/doctor")
        assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert examined == []
    admin = rest.as_(rest.secrets[Role.ADMIN])
    report = (await admin.get("/v1/doctor")).json
    assert report == (await admin.get("/v1/doctor")).json
    assert report == {
        "ok": False,
        "findings": [
            {"name": "disk", "ok": False, "finding": "9 MiB free", "fix": "Free some space."},
            {"name": "clock", "ok": True, "finding": "is well"},
            {
                "name": "notifications",
                "ok": True,
                "finding": "0 wait, 0 dead letters, 0 dropped",
            },
        ],
    }
    assert examined == [None]
