"""What an engine's offer means for a task's GPUs. No engine: what one tells, and CDI files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fetchml.adapters.docker.container_gpus import GpuAddress, GpuOffer, describes, grant, offered
from fetchml.ports.launcher import PrepareError
from testbed.gpu.stand_in import uuid

UUIDS = [uuid(n) for n in range(4)]
VOID = {"NVIDIA_VISIBLE_DEVICES": "void"}


def address_of(wanted: str) -> GpuAddress | None:
    return GpuAddress(str(UUIDS.index(wanted)), UUIDS.index(wanted)) if wanted in UUIDS else None


def device(name: str, *nodes: str) -> dict[str, Any]:
    return {"name": name, "containerEdits": {"deviceNodes": [{"path": node} for node in nodes]}}


def write(folder: Path, *devices: dict[str, Any], kind: str = "nvidia.com/gpu") -> dict[str, Any]:
    """An engine's info, with a specification as `nvidia-ctk` writes it."""
    spec = {"cdiVersion": "0.5.0", "kind": kind, "devices": list(devices)}
    (folder / "nvidia.yaml").write_text(yaml.safe_dump(spec))
    return {"CDISpecDirs": [str(folder)], "Runtimes": {"runc": {}}}


@pytest.mark.parametrize(
    "name",
    [lambda n: UUIDS[n], str, lambda n: f"gpu{n}"],
    ids=["uuid", "index", "type-index"],
)
def test_every_connector_to_name_devices(tmp_path: Path, name: Callable[[int], str]) -> None:
    cards = [device(name(n), f"/dev/nvidia{n}", "/dev/nvidiactl") for n in range(4)]
    offer = offered(write(tmp_path, *cards, device("all", "/dev/nvidia0", "/dev/nvidia1")))
    given = grant([UUIDS[3], UUIDS[1]], offer, address_of)
    assert given.requests == (
        {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={name(n)}" for n in (3, 1)]},
    )
    assert given.variables == {"FETCHML_GPU_UUIDS": f"{UUIDS[3]},{UUIDS[1]}"} | VOID


def test_mig_devices_by_uuid_and_by_index(tmp_path: Path) -> None:
    part = "MIG-00000001"
    address = GpuAddress("0:1", 0)
    for name in (part, "0:1", "mig0:1"):
        offer = offered(write(tmp_path, device("0:0"), device(name, "/dev/nvidia0")))
        assert grant([part], offer, lambda _: address).requests[0]["DeviceIDs"] == [
            f"nvidia.com/gpu={name}"
        ]


def test_an_index_that_is_another_gpu_by_now(tmp_path: Path) -> None:
    """The specification was made before a card was taken out."""
    offer = offered(write(tmp_path, device("1", "/dev/nvidia2", "/dev/nvidiactl")))
    with pytest.raises(PrepareError, match=r"out of date\. Run nvidia-ctk cdi generate") as info:
        grant([UUIDS[1]], offer, address_of)
    assert info.value.permanent


def test_a_gpu_that_no_specification_names(tmp_path: Path) -> None:
    info = write(tmp_path, device(UUIDS[0]))
    assert describes(offered(info), UUIDS[0], None) is None
    why = describes(offered(info), UUIDS[1], GpuAddress("1", 1))
    assert why is not None
    assert UUIDS[1] in why


def test_of_one_gpu_missing_none_is_given(tmp_path: Path) -> None:
    offer = offered(write(tmp_path, device(UUIDS[0])))
    with pytest.raises(PrepareError):
        grant([UUIDS[0], UUIDS[1]], offer, address_of)


def test_nvidia_s_runtime_where_cdi_can_t(tmp_path: Path) -> None:
    runtime: dict[str, Any] = {"Runtimes": {"runc": {}, "nvidia": {}}}
    for info in (runtime, write(tmp_path) | runtime, write(tmp_path, device("7")) | runtime):
        given = grant(UUIDS[:2], offered(info), lambda _: None)
        (request,) = given.requests
        assert (request["Driver"], request["DeviceIDs"]) == ("nvidia", UUIDS[:2])
        assert "gpu" in request["Capabilities"][0]
        assert "Count" not in request
        assert given.variables["NVIDIA_VISIBLE_DEVICES"] == ",".join(UUIDS[:2])


def test_cdi_comes_before_nvidia_s_runtime(tmp_path: Path) -> None:
    info = write(tmp_path, device(UUIDS[0])) | {"Runtimes": {"nvidia": {}}}
    assert grant([UUIDS[0]], offered(info), address_of).requests[0]["Driver"] == "cdi"


@pytest.mark.parametrize("cdi", [None, ()])
def test_engine_without_gpu_support_names_the_remedy(cdi: tuple[()] | None) -> None:
    with pytest.raises(PrepareError, match=r"cannot pass GPUs to containers\. Inst") as info:
        grant([UUIDS[0]], GpuOffer(cdi), address_of)
    assert info.value.permanent


def test_no_gpus_no_devices_whatever_the_engine_offers(tmp_path: Path) -> None:
    info = write(tmp_path, device("all"), device("0")) | {"Runtimes": {"nvidia": {}}}
    for offer in (GpuOffer(), offered(info)):
        given = grant([], offer, address_of)
        assert (given.requests, given.variables) == ((), VOID | {"FETCHML_GPU_UUIDS": None})


def test_plain_slots_are_reported_without_a_device(tmp_path: Path) -> None:
    given = grant(["slot-0", "slot-1"], offered(write(tmp_path, device("0"))), address_of)
    assert given.requests == ()
    assert given.variables == {"FETCHML_GPU_UUIDS": "slot-0,slot-1"}


def test_devices_that_an_engine_reports() -> None:
    found = [
        {"Source": "cdi", "ID": f"nvidia.com/gpu={UUIDS[0]}"},
        {"Source": "cdi", "ID": "example.com/card=0"},
    ]
    offer = offered({"CDISpecDirs": ["/nowhere"], "DiscoveredDevices": found})
    assert offer.cdi is not None
    assert [d.name for d in offer.cdi] == [f"nvidia.com/gpu={UUIDS[0]}"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "kind: 3", "kind: nvidia.com/gpu\ndevices: 4", "\0", "{", "kind: nvidia.com/gpu"],
)
def test_malformed_specification_is_ignored(tmp_path: Path, text: str) -> None:
    info = write(tmp_path, device(UUIDS[0]))
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.json").write_text(json.dumps({"kind": "example.com/x", "devices": [{}]}))
    offer = offered(info)
    assert offer.cdi is not None
    assert [d.name for d in offer.cdi] == [f"nvidia.com/gpu={UUIDS[0]}"]
