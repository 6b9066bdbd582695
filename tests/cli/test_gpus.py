"""GPU commands against a real server whose NVIDIA library is a stand-in."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.gpu_commands import find, gpu_picture, memory, note, packing
from fetchml.cli.render import console
from fetchml.cli.show import starts
from fetchml.cli.tables import note as task_note
from fetchml.v1.gpu_pb2 import Gpu, GpuList
from fetchml.v1.task_pb2 import Task, TaskExplanation
from testbed.gpu.stand_in import GpuBox, gpu, process, uuid
from tests.cli.test_commands import rest
from tests.support.cli_server import Server
from tests.support.waiting import wait_until

FREE = [gpu(0), gpu(1, use=3), gpu(2, action=1)]


@pytest.fixture(scope="module")
def gpu_box(tmp_path_factory: pytest.TempPathFactory, gpu_libraries: Path) -> Iterator[GpuBox]:
    box = GpuBox(tmp_path_factory.mktemp("gpus") / "nvidia", gpu_libraries)
    box.set(*FREE)
    with pytest.MonkeyPatch.context() as monkeypatch:
        box.enter(monkeypatch)
        yield box


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gpu_box: GpuBox) -> Iterator[Server]:
    """Each test leaves it as it was."""
    data_dir = tmp_path_factory.mktemp("gpus") / "data"
    made = Server(data_dir, LD_LIBRARY_PATH=str(gpu_box.folder)).keep_ports().start()
    yield made
    assert made.stop() == 0


def until(server: Server, number: int, state: str) -> dict[str, object]:
    """Return the GPU once it has a state. The server polls every two seconds."""

    def look() -> dict[str, object] | None:
        found: dict[str, object] = server.json("gpus")["gpus"][number]
        return found if found["state"] == state else None

    found = wait_until(look, f"GPU {number} is {state}")
    assert found is not None
    return found


def row(server: Server, number: int) -> str:
    """Return a row of the table, with one blank between its cells."""
    lines = server.run("gpus").succeeded().splitlines()
    return next(re.sub(" +", " ", line) for line in lines if line.split()[0] == str(number))


def test_gpu_table_shows_state_use_and_tasks(server: Server, gpu_box: GpuBox) -> None:
    assert row(server, 0) == "0 GPU-00000000 NVIDIA H100 80GB HBM3 free 0 % 0.0 of 80 GiB 30 °C"
    assert row(server, 2).endswith(
        "2 GPU-00000002 NVIDIA H100 80GB HBM3 sick 0 % 0.0 of 80 GiB 32 °C "
        "it must be reset; drained by the server"
    )
    task_id = server.run("submit", "-n", "train", "--gpu", "1", "--", "sleep", "1000").succeeded()
    held = until(server, 0, "held")
    assert held["task_ids"] == [task_id]
    wait_until(lambda: server.json("show", task_id)["status"] == "running")
    assert f"held 0 % 0.0 of 80 GiB 30 °C train admin {task_id} " in row(server, 0)
    assert server.json("show", task_id)["gpu_uuids"] == [uuid(0)]
    assert uuid(0) in server.run("show", task_id).succeeded()
    with process("trainer") as pid:
        gpu_box.set(*FREE, f"process {uuid(1)} {pid} 2150")
        until(server, 1, "busy")
        assert row(server, 1).endswith(f"trainer (pid {pid}, 2.1 GiB)")
        assert server.json("gpus") == rest(server, "/v1/gpus")
        top = server.run("top").succeeded()
        assert re.search(r"^1 +GPU-00000001 .* busy ", top, re.MULTILINE)
        assert re.search(rf" train +admin +{task_id} ", top)
        waits = server.run("submit", "--gpu", "2", "--", "true").succeeded()
        why = server.run("show", waits).succeeded()
        assert "1 in the queue" in why
        assert "GPU 1: busy: trainer" in why
        assert "GPU 2: sick" in why
    server.run("cancel", task_id, waits).succeeded()
    gpu_box.set(*FREE)
    until(server, 1, "free")


@pytest.mark.slow
def test_drain_by_number_and_by_prefix(server: Server) -> None:
    drained = server.run("gpu", "drain", "0").succeeded()
    assert drained == "GPU 0 (GPU-00000000, NVIDIA H100 80GB HBM3) is drained"
    assert row(server, 0).endswith("drained 0 % 0.0 of 80 GiB 30 °C drained by admin")
    task_id = server.run("submit", "--gpu", "1", "--", "sleep", "1000").succeeded()
    assert until(server, 1, "held")["task_ids"] == [task_id]
    told = server.run("gpu", "drain", "gpu-00000001").succeeded()
    assert told.endswith(f"is drained; it is still used by {task_id}")
    assert server.json("gpus")["gpus"][1]["state"] == "drained"
    server.run("cancel", task_id).succeeded()
    waits = server.run("submit", "--gpu", "1", "--", "true").succeeded()
    assert "drained by admin" in server.run("show", waits).succeeded()
    back = server.run("gpu", "undrain", "0", "1").succeeded().splitlines()
    assert len(back) == 2
    server.run("watch", waits).succeeded()
    assert server.json("show", waits)["status"] == "completed"
    sick = server.run("gpu", "undrain", "2").succeeded()
    assert sick.endswith("is no longer drained, but nothing starts on it: sick: it must be reset")
    actions = [entry["action"] for entry in server.json("audit")["entries"]]
    assert actions.count("gpu.drain") == 2
    assert actions.count("gpu.undrain") == 3


@pytest.mark.slow
def test_reservation_holds_through_a_restart(server: Server) -> None:
    told = server.run("reserve", "0", "--user", "ada", "--to", "+4h").succeeded()
    booking_id, words = told.split(": ", 1)
    assert words.startswith("GPU 0 is reserved for ada from ")
    later = server.json("reserve", "--gpus", "1", "--user", "ada", "--from", "+1h", "--to", "+2h")
    assert later["gpu_uuids"] == [uuid(1)], "the sick one is the last choice"
    for arguments, code in (
        (("0", "--gpus", "1"), ExitCode.USAGE),
        ((), ExitCode.USAGE),
        (("9",), ExitCode.NOT_FOUND),
        (("0",), ExitCode.CONFLICT),
    ):
        ran = server.run("reserve", *arguments, "--user", "ada", "--to", "+4h")
        assert ran.code == code, ran.err
    waits = server.run("submit", "--gpu", "1", "--", "true").succeeded()
    assert server.stop() == 0
    server.start()
    why = server.run("show", waits).succeeded()
    assert "GPU 0 is reserved for ada until" in why
    assert "GPU 1 is reserved for ada from" in why
    lines = server.run("reservations", "ls").succeeded().splitlines()
    assert re.match(rf"{booking_id} +0 +ada +", lines[1])
    assert server.run("reservations", "ls", "-o", "name").succeeded().splitlines() == [
        booking_id,
        later["id"],
    ]
    gone = server.run("reservations", "rm", booking_id[-12:], str(later["id"])).succeeded()
    assert gone.splitlines()[0] == f"{booking_id} is removed"
    server.run("watch", waits).succeeded()
    assert server.json("show", waits)["status"] == "completed"


def test_gpu_errors_have_exit_codes(server: Server) -> None:
    for named, code, said in (
        ("7", ExitCode.NOT_FOUND, "GPU 7 not found"),
        ("", ExitCode.NOT_FOUND, "GPU "),
        ("GPU-0000000", ExitCode.USAGE, "Several UUIDs start with GPU-0000000: GPUs 0, 1, 2"),
    ):
        assert said in server.run("gpu", "drain", "0", named).failed(code)
    user = server.json("keys", "create", "ada")["secret"]
    refused = server.run("gpu", "drain", "0", FETCHML_API_KEY=user).failed(ExitCode.REFUSED)
    assert "Only admins" in refused
    assert server.run("gpus", FETCHML_API_KEY=user).code == 0
    assert [each["state"] for each in server.json("gpus")["gpus"]] == ["free", "free", "sick"]
    assert server.run("gpus", "--watch").code == ExitCode.USAGE


@pytest.mark.slow
def test_a_waiting_task_shows_its_estimated_start(server: Server) -> None:
    for _ in range(3):
        server.run("submit", "--wait", "-n", "short", "--", "true").succeeded()
    running = server.run("submit", "--gpu", "2", "--", "sleep", "1000").succeeded()
    waits = server.run("submit", "-n", "short", "--gpu", "1", "--", "true").succeeded()
    key = (server.data_dir / "admin.key").read_text().strip()
    assert key
    told = rest(server, f"/v1/tasks/{waits}/explain")["estimate"]
    assert told["p50"] <= told["p90"]
    assert re.search(
        r"^starts +within .* \(50 % likely\), within .* \(90 % likely\)",
        server.run("show", waits).succeeded(),
        re.MULTILINE,
    )
    server.run("cancel", running).succeeded()
    server.run("watch", waits).succeeded()
    assert "starts" not in server.run("show", waits).succeeded()


def test_watch_as_json(server: Server) -> None:
    with server.begin("gpus", "--watch", "--json") as watching:
        assert watching.stdout is not None
        first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
        watching.terminate()
    assert [each["number"] for each in first["gpus"]] == [0, 1, 2]
    assert first.keys() == second.keys()


def printed(found: GpuList, *tasks: Task) -> str:
    out = console()
    with out.capture() as captured:
        out.print(gpu_picture(found, tasks))
    return captured.get()


def test_a_machine_without_gpus() -> None:
    assert printed(GpuList(problem="no NVIDIA driver")).strip() == "No GPUs: no NVIDIA driver"
    assert printed(GpuList()).strip() == "No GPUs: none found"


def test_a_missing_driver_is_shown_beside_the_lost_gpus() -> None:
    lost = Gpu(uuid="GPU-a", number=0, state=Gpu.lost, reason="lost: it is gone")
    shown = printed(GpuList(gpus=[lost], problem="no NVIDIA driver", notes=["look\x1b[2J here"]))
    assert "The GPU driver has a problem: no NVIDIA driver" in shown
    assert "it is gone" in shown
    assert "\x1b" not in shown, "nothing steers the terminal"


def test_a_plain_slot_has_no_measurements() -> None:
    slot = Gpu(uuid="slot-0", number=0, state=Gpu.free)
    assert printed(GpuList(gpus=[slot])).splitlines()[1].split() == ["0", "slot-0", "free"]
    assert memory(Gpu(memory_mb=81_559)) == "80 GiB"


def test_shared_gpus_and_services() -> None:
    """A Jupyter service is shown by its id. Several holders have no common run time."""
    shared = Gpu(uuid="GPU-a", number=0, state=Gpu.held, task_ids=["t1", "s1"])
    known = Task(id="t1", job_name="train", user_id="ada")
    assert "train ada t1, s1" in re.sub(" +", " ", printed(GpuList(gpus=[shared]), known))


def test_the_note_of_a_gpu() -> None:
    for each, told in [
        (Gpu(state=Gpu.busy, reason="busy: x (pid 1)"), "x (pid 1)"),
        (Gpu(state=Gpu.drained, reason="drained by ada", drained_by="ada"), "drained by ada"),
        (Gpu(state=Gpu.held, reason="drained by ada", drained_by="ada"), "drained by ada"),
        (Gpu(state=Gpu.drained, drained_by="ada"), "drained by ada"),
        (
            Gpu(state=Gpu.lost, reason="lost: it is gone", drained_by="ada"),
            "it is gone; drained by ada",
        ),
        (Gpu(state=Gpu.free), ""),
    ]:
        assert note(each) == told


def test_the_room_on_a_packed_gpu() -> None:
    for each, told in [
        (Gpu(state=Gpu.held), ""),
        (Gpu(state=Gpu.held, packing_room_mb=0), "no room for another task"),
        (Gpu(state=Gpu.held, packing_room_mb=18_432), "18.0 GiB for another task"),
    ]:
        assert packing(each) == told
        assert told in printed(GpuList(gpus=[each]))


def test_a_complete_uuid_matches_although_it_starts_another() -> None:
    found = [Gpu(uuid="GPU-a", number=0), Gpu(uuid="GPU-ab", number=1), Gpu(uuid="1", number=2)]
    assert find(found, "gpu-a").number == 0
    assert find(found, "GPU-AB").number == 1
    assert find(found, "1").number == 1, "numbers come first"
    with pytest.raises(CommandError, match="GPU 12 not found"):
        find(found, "12")


def test_estimates_in_words() -> None:
    told = TaskExplanation.StartEstimate(p50=Timestamp(seconds=160), p90=Timestamp(seconds=7300))
    assert starts(told, 100) == "within 1 min 0 s (50 % likely), within 2 h 0 min (90 % likely)"
    told.checked, told.held_p50_percent, told.held_p90_percent = 12, 48, 91
    assert starts(told, 100).endswith("; 48 % and 91 % of 12 earlier estimates held")
    assert starts(told, 9999).startswith("within 0 s"), "never negative"


def test_the_note_of_a_prestaged_task() -> None:
    ahead = Task(status=Task.queued, ahead=True, progress="pulling the image")
    assert task_note(ahead) == "prestaged: pulling the image"
    assert task_note(Task(status=Task.queued, ahead=True)) == "prestaged"


def test_top_lists_prestaged_tasks_among_the_waiting(tmp_path: Path) -> None:
    """A prestaged task holds no resources, so it is not among the running ones."""
    server = Server(tmp_path / "data", FETCHML_GPU_SLOTS="1").start()
    try:
        runs = server.run("submit", "--gpu", "1", "--", "sleep", "1000").succeeded()
        waits = server.run("submit", "--gpu", "1", "--", "true").succeeded()
        wait_until(lambda: server.json("show", waits).get("ahead"))
        above, below = server.run("top").succeeded().split(" waiting: ")
        assert runs in above
        assert waits not in above
        assert re.search(rf"^{waits} .* queued .* prestaged", below, re.MULTILINE)
        assert server.json("show", waits)["status"] == "queued"
        assert waits in server.run("ls", "--status", "queued").succeeded()
        assert waits not in server.run("ls", "--status", "preparing").succeeded()
        assert server.json("queue")["queued"] == 1
        server.run("cancel", waits, runs).succeeded()
    finally:
        assert server.stop() == 0
