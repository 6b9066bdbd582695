"""`fetchml doctor` on machines that are healthy or broken."""

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fetchml.cli.doctor import doctor as command
from fetchml.config.address import Address
from fetchml.config.settings import GpuSettings, Settings, TaskSettings
from fetchml.files.data_dir import is_taken, lock_data_dir
from fetchml.ops.checks.host import grpc_network
from fetchml.ops.checks.launcher import task_user
from fetchml.ops.doctor import examine
from fetchml.views import Finding
from testbed.docker_engine import Engine
from testbed.gpu.stand_in import GpuBox, gpu, process, uuid
from tests.support.cli_server import Server, run


def doctor(*flags: str, **variables: str) -> tuple[int, dict[str, Any]]:
    ran = run("doctor", "--json", *flags, **variables)
    found = json.loads(ran.out)
    assert found["ok"] == (ran.code == 0)
    return ran.code, {check["name"]: check for check in found["checks"]}


def free_ports() -> tuple[str, ...]:
    return ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")


def test_a_healthy_machine_has_no_problem(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    ran = run("doctor", "--launcher", "process", "--data-dir", str(data_dir), *free_ports())
    assert "problem" not in ran.succeeded()
    assert not data_dir.exists(), "it changes nothing"


@pytest.mark.parametrize(
    ("address", "is_advised"),
    [
        ("127.0.0.1:0", False),
        ("[::1]:0", False),
        ("localhost:0", False),
        ("0.0.0.0:0", True),
        ("[::]:0", True),
        ("gpu.example.org:0", True),
    ],
)
def test_grpc_port_for_other_hosts_belongs_behind_envoy(address: str, is_advised: bool) -> None:
    finding = grpc_network(Address.parse(address))
    assert finding.ok
    assert ("put Envoy in front" in finding.advice) is is_advised


def test_it_changes_nothing_in_a_data_directory(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text('{"pid": 1}')
    tmp_path.chmod(0o755)
    before = lock.stat()
    doctor("--launcher", "process", "--data-dir", str(tmp_path), *free_ports())
    assert lock.read_text() == '{"pid": 1}'
    assert lock.stat().st_mtime_ns == before.st_mtime_ns
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_data_directory_is_taken_while_a_server_holds_it(tmp_path: Path) -> None:
    assert not is_taken(tmp_path)
    lock = lock_data_dir(tmp_path)
    assert is_taken(tmp_path)
    lock.release()
    assert not is_taken(tmp_path)


def gpu_checks(box: GpuBox) -> dict[str, Finding]:
    checks = found(Settings(data_dir=box.folder / "d"))
    return {name: check for name, check in checks.items() if name.startswith("gpu")}


def test_gpus(gpu_box: GpuBox) -> None:
    with process("trainer") as pid:
        gpu_box.set(gpu(0), gpu(1), gpu(2, action=1), f"process {uuid(1)} {pid} 100")
        checks = gpu_checks(gpu_box)
    assert checks["gpus"] == Finding("gpus", "3 found, NVIDIA driver 570.86.10")
    card = "NVIDIA H100 80GB HBM3, 79 GiB"
    assert checks["gpu 0"] == Finding("gpu 0", f"{card}, {uuid(0)}: free")
    busy = f"{card}, {uuid(1)}: busy: trainer (pid {pid}, 100 MiB)"
    assert checks["gpu 1"] == Finding("gpu 1", busy)
    assert checks["gpu 2"].finding == f"{card}, {uuid(2)}: sick: it must be reset"
    assert not checks["gpu 2"].ok


def test_mig_without_devices(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, mig=1))
    check = gpu_checks(gpu_box)["gpus"]
    assert not check.ok
    assert "it has no MIG devices" in check.finding


@pytest.mark.parametrize(
    ("vendor", "kind", "ok"),
    [("0x10de", "0x030200", False), ("0x10de", "0x040300", True), ("0x8086", "0x030000", True)],
)
def test_a_card_without_a_driver(
    gpu_box: GpuBox, monkeypatch: pytest.MonkeyPatch, vendor: str, kind: str, ok: bool
) -> None:
    card = gpu_box.folder / "pci/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text(f"{vendor}\n")
    (card / "class").write_text(f"{kind}\n")
    monkeypatch.setattr("fetchml.ops.checks.host.PCI_DEVICES", card.parent)
    gpu_box.set(driver=None)
    check = gpu_checks(gpu_box)["gpus"]
    assert (check.finding, check.ok) == ("NVIDIA's driver is not loaded", ok)


def test_a_driver_that_hangs(gpu_box: GpuBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchml.ops.checks.host.GPU_SECONDS", 0.3)
    gpu_box.set(gpu(0))
    gpu_box.add("hang")
    check = gpu_checks(gpu_box)["gpus"]
    gpu_box.set(gpu(0))
    assert check.finding == "no response from the NVIDIA driver"
    assert not check.ok


def test_plain_slots_are_reported(gpu_box: GpuBox) -> None:
    gpu_box.set(driver=None)
    settings = Settings(data_dir=gpu_box.folder / "d", gpu=GpuSettings(slots=2))
    assert found(settings)["gpus"] == Finding(
        "gpus", "NVIDIA's driver is not loaded, 2 plain GPU slots"
    )


@pytest.mark.parametrize(
    ("slots", "slots_per_gpu", "lacks"),
    [(0, 1, "no GPU has more than one slot"), (2, 4, "plain slots have no memory"), (0, 4, None)],
)
def test_packing_that_does_nothing_is_reported(
    gpu_box: GpuBox, slots: int, slots_per_gpu: int, lacks: str | None
) -> None:
    gpu_box.set(gpu(0))
    packs = GpuSettings(slots=slots, slots_per_gpu=slots_per_gpu, packing=True)
    check = found(Settings(data_dir=gpu_box.folder / "d", gpu=packs)).get("packing")
    assert (check is None) == (lacks is None)
    if check is not None:
        assert check.finding == f"[gpu] packing lets no tasks share a GPU: {lacks}"
        assert not check.ok


def test_gpus_without_a_container_toolkit_are_a_problem(
    gpu_box: GpuBox, docker_engine: Engine
) -> None:
    gpu_box.set(gpu(0))
    ran = run(
        "doctor", "--json", "--data-dir", str(gpu_box.folder / "d"), *free_ports(),
        LD_LIBRARY_PATH=str(gpu_box.folder), DOCKER_HOST=docker_engine.host,
    )  # fmt: skip
    checks = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert checks["gpus"]["says"] == "1 found, NVIDIA driver 570.86.10"
    assert "cannot pass GPUs to containers" in checks["gpus in containers"]["says"]
    assert "nvidia-ctk cdi generate" in checks["gpus in containers"]["mend"]


def test_inotify_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path / "d")
    assert "max_user_watches" in found(settings)["inotify"].finding
    monkeypatch.setattr("fetchml.ops.checks.host.INOTIFY", tmp_path)
    (tmp_path / "max_user_instances").write_text("128\n")
    (tmp_path / "max_user_watches").write_text("100\n")
    check = found(settings)["inotify"]
    assert check.finding == "max_user_instances 128, max_user_watches 100"
    assert "fs.inotify.max_user_watches=65536" in check.fix


def found(settings: Settings) -> dict[str, Finding]:
    return {check.name: check for check in examine(settings)}


def test_permissions_for_other_users_are_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "admin.key").touch(mode=0o644)
    code, checks = doctor("--launcher", "process", "--data-dir", str(tmp_path), *free_ports())
    assert code == 1
    assert checks["data directory"]["mend"] == f"chmod 700 {tmp_path}"
    assert checks["admin key"]["mend"] == f"chmod 600 {tmp_path}/admin.key"
    assert checks["disk"]["ok"]


def test_ports_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, checks = doctor(
            "--launcher", "process", "--data-dir", str(tmp_path / "d"),
            "--http", address, "--grpc", "127.0.0.1:0",
        )  # fmt: skip
    assert code == 1
    assert "--http" in checks["http port"]["mend"]
    assert checks["grpc port"]["ok"]


def test_the_ports_of_the_running_server_are_no_problem(server: Server) -> None:
    flags = ("--data-dir", str(server.data_dir), "--http", server.http, "--grpc", server.grpc)
    code, checks = doctor("--launcher", "process", *flags)
    assert code == 0
    assert "a server runs on this data directory" in checks["grpc port"]["says"]


def test_settings_beyond_the_machine(tmp_path: Path) -> None:
    code, checks = doctor(
        "--launcher", "process", "--data-dir", str(tmp_path / "d"), *free_ports(),
        FETCHML_RESOURCES_CPU="100000", FETCHML_HISTORY_MIN_FREE_MB="2000000000",
    )  # fmt: skip
    assert code == 1
    assert "lower [resources]" in checks["resources"]["mend"]
    assert "min_free_mb" in checks["disk"]["mend"]


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    flags = ("--launcher", "process", "--data-dir", str(tmp_path / "d"), *free_ports())
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    code, checks = doctor(*flags, FETCHML_TLS_CERT=certificate)
    assert (code, checks["tls"]["mend"]) == (
        1,
        "Name a certificate and its private key, both in PEM.",
    )
    code, checks = doctor(*flags, FETCHML_TLS_CERT=certificate, FETCHML_TLS_KEY=key)
    assert code == 1
    assert checks["tls"]["says"].startswith(f"{certificate}: cannot read it")


def test_a_clock_that_is_behind(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    tmp_path.chmod(0o700)
    file = store / "written"
    file.touch()
    os.utime(file, (4_000_000_000, 4_000_000_000))
    code, checks = doctor("--launcher", "process", "--data-dir", str(tmp_path), *free_ports())
    assert code == 1
    assert checks["clock"]["says"].startswith("behind by")


def test_no_docker_engine(tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/none.sock"
    code, checks = doctor("--data-dir", str(tmp_path / "d"), *free_ports(), DOCKER_HOST=nowhere)
    assert code == 1
    assert checks["docker"]["says"].startswith(f"no response from an engine at {nowhere}: ")
    assert "--launcher process" in checks["docker"]["mend"]


def test_a_docker_engine(docker_engine: Engine, python_image: str, tmp_path: Path) -> None:
    code, checks = doctor(
        "--data-dir", str(tmp_path / "d"), *free_ports(),
        DOCKER_HOST=docker_engine.host, FETCHML_TASKS_IMAGE=python_image,
    )  # fmt: skip
    assert code == 0
    assert checks["docker"]["says"].startswith("engine ")
    assert checks["gpus in containers"]["ok"]
    assert checks["gpus in containers"]["says"].startswith("none: ")
    assert checks["default image"]["says"] == f"{python_image} is here"


def test_a_uid_that_all_containers_share_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything works, so it is advice and not a problem."""
    monkeypatch.setattr("fetchml.ops.checks.launcher.holder", lambda data_dir: 77)
    monkeypatch.setattr("fetchml.system.capabilities.may_hand_over", lambda pid: pid == 77)
    assert task_user(Settings()) == Finding("task user", "a uid for each user, from 1900000 on")
    monkeypatch.setattr("fetchml.ops.checks.launcher.holder", lambda data_dir: None)
    shared = task_user(Settings())
    assert shared.ok
    assert "the server's own uid" in shared.finding
    assert "fetchml service install" in shared.advice
    assert task_user(Settings(tasks=TaskSettings(user="77:77"))).advice == ""
    monkeypatch.setattr("fetchml.cli.doctor.examine", lambda *_, **__: [shared])
    ran = CliRunner().invoke(command, [], standalone_mode=False)
    assert ran.return_value == 0
    assert ran.output.startswith("advice")
    assert "→ Run the server as the service" in " ".join(ran.output.split())
    ran = CliRunner().invoke(command, ["--json"], standalone_mode=False)
    [check] = json.loads(ran.output)["checks"]
    assert check["ok"]
    assert check["advice"] == shared.advice
