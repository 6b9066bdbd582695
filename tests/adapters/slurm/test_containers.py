"""The command lines that run images on nodes, as a shell there would run them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fetchml.adapters.slurm.containers import Containers
from fetchml.ports.launcher import LaunchSpec, Mount, NamedFolder, PrepareError
from fetchml.shim import WRONG_VOLUME
from tests.shim.attempt import SHIM as SHIM_PROGRAM
from tests.shim.attempt import Attempt

RUNTIMES = ("podman", "apptainer", "pyxis")
PROGRAMS = {"pyxis": "srun"}


def spec(folder: Path, image: str = "example.org/ml/train:2", **more: object) -> LaunchSpec:
    fields = {"task_id": "t1", "attempt": 1, "job_name": "job", "folder": folder, "image": image}
    return LaunchSpec(**fields, argv=("train", "a b", "$x"), env={"A": "1"}, **more)  # type: ignore[arg-type]


def ran(
    folder: Path,
    runtime: str,
    run: LaunchSpec,
    owner: tuple[int, int] = (7, 8),
) -> list[str]:
    """The arguments that the runtime gets on a node whose GPUs 2 and 3 are the job's."""
    program = folder / "bin" / PROGRAMS.get(runtime, runtime)
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o700)
    script = Containers(runtime, owner, shm_mb=512).script(
        run, Path("/shared/shim"), usage_ms=10_000, lease_ms=60_000
    )
    given = {"PATH": f"{program.parent}:{os.environ['PATH']}", "numbers": "2,3", "gpus": "0,1"}
    done = subprocess.run(
        ["sh", "-euc", script, "sh", "12", "1", "/etc/of/slurm.conf"],
        env=given,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


SHIM = [
    "--dir", "/.fetchml/run", "--cwd", "/workspace", "--segment-bytes", "33554432",
    "--grace-ms", "10000", "--control", "/.fetchml/control", "--control-ms", "10000",
    "--relay", "/.fetchml/node_relay.py", "--usage-ms", "10000", "--lease-ms", "60000",
    "--sampler", "/.fetchml/gpu_samples.py", "--env", "/.fetchml/environment",
    "--", "train", "a b", "$x",
]  # fmt: skip


def identity(folder: Path) -> str:
    status = folder.stat()
    return f"{status.st_dev}:{status.st_ino}"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("place", ["link/inner", "missing", "link"])
def test_volume_behind_a_link_is_not_mounted(tmp_path: Path, runtime: str, place: str) -> None:
    (tmp_path / "it's/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("it's")
    for name, works in ((place, False), ("it's/inner", runtime == "podman")):
        run = spec(tmp_path, volumes=(Mount(tmp_path / name, "/volumes/v", read_only=True),))
        if works:
            words = ran(tmp_path, runtime, run)
            assert words[words.index("--volume") + 1].startswith(identity(tmp_path / name))
            continue
        if name != place:
            continue  # These runtimes can't mount such a path.
        with pytest.raises(subprocess.CalledProcessError) as failed:
            ran(tmp_path, runtime, run)
        assert "the volume v is not available on this node" in failed.value.stderr
        shutil.rmtree(tmp_path / "bin")


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    (tmp_path / "attempt").mkdir()
    return Attempt(tmp_path / "attempt")


RUNTIME = """\
#!/bin/sh
# Mounts the volume as a runtime does, and runs the shim with the options that it got.
[ -z "$REPLACE" ] || { mv "$SOURCE" "$SOURCE.away"; ln -s "$REPLACE" "$SOURCE"; }
while [ "$1" != --volume ]; do shift; done
exec unshare --mount $AS_ROOT sh -euc 'mount --bind "$SOURCE" "$PLACE"; exec "$0" "$@"' \\
    "$SHIM" --dir "$RUN" --segment-bytes 1000 --grace-ms 0 --volume "$2" -- cat "$PLACE/file"
"""


@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_volume_that_is_replaced_before_the_mount_starts_nothing(
    tmp_path: Path, attempt: Attempt, runtime: str, *, is_replaced: bool
) -> None:
    """After the check on the node, when only the runtime is left to run."""
    volume, secret, place = tmp_path / "volume", tmp_path / "secret", tmp_path / "volumes/v"
    for folder in (volume, secret, place):
        folder.mkdir(parents=True)
        (folder / "file").write_text(f"of {folder.name}")
    program = tmp_path / "bin" / PROGRAMS.get(runtime, runtime)
    program.parent.mkdir()
    program.write_text(RUNTIME)
    program.chmod(0o700)
    run = spec(tmp_path, volumes=(Mount(volume, str(place), read_only=True),))
    script = Containers(runtime, (0, 0)).script(
        run, Path("/shared/shim"), usage_ms=10_000, lease_ms=60_000
    )
    given = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "SOURCE": str(volume),
        "PLACE": str(place),
        "REPLACE": str(secret) if is_replaced else "",
        "SHIM": SHIM_PROGRAM,
        "AS_ROOT": "" if os.geteuid() == 0 else "--map-root-user",
        "RUN": str(attempt.folder),
    }
    done = subprocess.run(
        ["sh", "-euc", script, "sh", "12", "1", "0", "0", "/etc/of/slurm.conf"],
        env=given,
        check=False,
    )
    assert done.returncode == (WRONG_VOLUME if is_replaced else 0)
    assert attempt.log() == ("" if is_replaced else "of volume")


def test_podman(tmp_path: Path) -> None:
    datasets = (Mount(Path('/d/a,"b'), "/data/ab", read_only=True),)
    named_folders = (NamedFolder("FETCHML_CHECKPOINT", Path("/c"), "/checkpoint"),)
    run = spec(tmp_path, datasets=datasets, named_folders=named_folders, gpu=2)
    machine = os.uname().machine
    assert ran(tmp_path, "podman", run) == [
        "run",
        "--rm",
        "--network=host",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--read-only",
        "--user=7:8",
        "--shm-size=512m",
        "--log-driver=none",
        "--label=fetchml.task=t1",
        "--workdir=/workspace",
        "--entrypoint=/.fetchml/shim",
        "--cgroups=disabled",
        "--image-volume=tmpfs",
        "--security-opt=mask=/sys/fs/cgroup",
        "--userns=keep-id",
        f"--mount=type=bind,src={tmp_path}/environment,dst=/.fetchml/environment,ro",
        "--mount=type=bind,src=/shared/shim/node_relay.py,dst=/.fetchml/node_relay.py,ro",
        "--mount=type=bind,src=/shared/shim/gpu_samples.py,dst=/.fetchml/gpu_samples.py,ro",
        '--mount=type=bind,"src=/d/a,""b",dst=/data/ab,ro',
        "--mount=type=bind,src=/c,dst=/checkpoint",
        f"--mount=type=bind,src={tmp_path}/run,dst=/.fetchml/run",
        f"--mount=type=bind,src={tmp_path}/workspace,dst=/workspace",
        f"--mount=type=bind,src={tmp_path}/outputs,dst=/outputs",
        f"--mount=type=bind,src={tmp_path}/control,dst=/.fetchml/control,ro",
        f"--mount=type=bind,src=/shared/shim/{machine},dst=/.fetchml/shim,ro",
        "--device=nvidia.com/gpu=2",
        "--device=nvidia.com/gpu=3",
        "example.org/ml/train:2",
        *SHIM,
    ]


def test_podman_of_root(tmp_path: Path) -> None:
    words = ran(tmp_path, "podman", spec(tmp_path), (0, 0))
    assert "--user=0:0" in words
    assert not any("--userns" in word or "--device" in word for word in words)


def test_apptainer(tmp_path: Path) -> None:
    (volume := tmp_path / "v").mkdir()
    run = spec(tmp_path, volumes=(Mount(volume, "/volumes/v", read_only=True),), gpu=1)
    machine = os.uname().machine
    assert ran(tmp_path, "apptainer", run) == [
        "exec",
        "--contain",
        "--cleanenv",
        "--no-home",
        "--no-privs",
        "--writable-tmpfs",
        "--pwd=/workspace",
        f"--bind={tmp_path}/environment:/.fetchml/environment:ro",
        "--bind=/shared/shim/node_relay.py:/.fetchml/node_relay.py:ro",
        "--bind=/shared/shim/gpu_samples.py:/.fetchml/gpu_samples.py:ro",
        f"--bind={volume}:/volumes/v:ro",
        f"--bind={tmp_path}/run:/.fetchml/run:rw",
        f"--bind={tmp_path}/workspace:/workspace:rw",
        f"--bind={tmp_path}/outputs:/outputs:rw",
        f"--bind={tmp_path}/control:/.fetchml/control:ro",
        f"--bind=/shared/shim/{machine}:/.fetchml/shim:ro",
        "--nv",
        "--env=CUDA_VISIBLE_DEVICES=0,1",
        "docker://example.org/ml/train:2",
        "/.fetchml/shim",
        "--volume",
        f"{identity(volume)}:/volumes/v",
        *SHIM,
    ]


def test_pyxis(tmp_path: Path) -> None:
    (volume := tmp_path / "v").mkdir()
    run = spec(tmp_path, volumes=(Mount(volume, "/volumes/v", read_only=True),), gpu=1)
    mounts = [
        f"{tmp_path}/environment:/.fetchml/environment:ro",
        "/shared/shim/node_relay.py:/.fetchml/node_relay.py:ro",
        "/shared/shim/gpu_samples.py:/.fetchml/gpu_samples.py:ro",
        f"{volume}:/volumes/v:ro",
        f"{tmp_path}/run:/.fetchml/run:rw",
        f"{tmp_path}/workspace:/workspace:rw",
        f"{tmp_path}/outputs:/outputs:rw",
        f"{tmp_path}/control:/.fetchml/control:ro",
        f"/shared/shim/{os.uname().machine}:/.fetchml/shim:ro",
    ]
    assert ran(tmp_path, "pyxis", run) == [
        "--nodes=1",
        "--ntasks=1",
        "--mem=0",
        "--input=none",
        "--mpi=none",
        "--container-image=example.org#ml/train:2",
        "--container-workdir=/workspace",
        "--container-readonly",
        "--no-container-mount-home",
        "--no-container-remap-root",
        "--no-container-entrypoint",
        "--jobid=12",
        "--cpus-per-task=1",
        f"--container-mounts={','.join(mounts)}",
        "/.fetchml/shim",
        "--volume",
        f"{identity(volume)}:/volumes/v",
        *SHIM,
    ]


@pytest.mark.parametrize(
    ("image", "given"),
    [
        ("python:3.12", "python:3.12"),
        ("nvidia/cuda:12", "nvidia/cuda:12"),
        ("docker.io/library/python", "library/python"),
        ("nvcr.io/nvidia/pytorch:25.06-py3", "nvcr.io#nvidia/pytorch:25.06-py3"),
        ("localhost/train:1", "localhost#train:1"),
        ("h:5000/a/b:1@sha256:0f", "h:5000#a/b:1@sha256:0f"),
        ("/images/a b.sqsh", "/images/a b.sqsh"),
    ],
)
def test_names_of_images_for_pyxis(tmp_path: Path, image: str, given: str) -> None:
    words = ran(tmp_path, "pyxis", spec(tmp_path, image))
    assert f"--container-image={given}" in words


@pytest.mark.parametrize("name", ["a b", "a,b", "a:b", "a$b", "a`b", 'a"b', "a\\b", "a\nb"])
def test_path_that_pyxis_cannot_mount_is_named(tmp_path: Path, name: str) -> None:
    run = spec(tmp_path, datasets=(Mount(Path("/d", name), "/data/ab", read_only=True),))
    with pytest.raises(PrepareError, match=r"(?s)/d/a.b"):
        ran(tmp_path, "pyxis", run)


@pytest.mark.parametrize(
    ("runtime", "image"),
    [
        *((runtime, image) for runtime in RUNTIMES for image in ("a", "h:5000/a/b:1@sha256:0f")),
        ("apptainer", "/images/a.sif"),
        ("apptainer", "oras://example.org/a:1"),
    ],
)
def test_usable_images(tmp_path: Path, runtime: str, image: str) -> None:
    words = ran(tmp_path, runtime, spec(tmp_path, image))
    assert any(word.replace("#", "/").endswith(image) for word in words)


@pytest.mark.parametrize(
    ("runtime", "image"),
    [
        *(
            (runtime, image)
            for runtime in RUNTIMES
            for image in (
                "--privileged", "dir:/etc", "oci-archive:x", "a$(id)", "", "A", "/", "instance://a",
                "a:" * 300,
            )
        ),
        ("podman", "docker://a"),
        ("pyxis", "docker://a"),
        ("pyxis", "/images/a\nb.sqsh"),
        ("podman", "/images/a.sif"),
        ("apptainer", "docker:///a"),
        ("apptainer", "oras://-x"),
    ],
)  # fmt: skip
def test_images_that_are_refused(tmp_path: Path, runtime: str, image: str) -> None:
    with pytest.raises(PrepareError) as refused:
        ran(tmp_path, runtime, spec(tmp_path, image))
    assert refused.value.permanent


def test_path_that_apptainer_cannot_mount_is_named(tmp_path: Path) -> None:
    run = spec(tmp_path, datasets=(Mount(Path("/d/a:b"), "/data/ab", read_only=True),))
    with pytest.raises(PrepareError, match="/d/a:b"):
        ran(tmp_path, "apptainer", run)


def test_variables_of_a_step_are_removed(tmp_path: Path) -> None:
    entries = Containers("pyxis", (7, 8)).environment(spec(tmp_path)).decode().split("\0")
    assert entries.index("SLURM") < entries.index("HOME=/tmp") < entries.index("A=1")
    others = Containers("podman", (7, 8)).environment(spec(tmp_path)).decode()
    assert all("=" in entry for entry in others.removesuffix("\0").split("\0"))


def test_variables(tmp_path: Path) -> None:
    containers = Containers("podman", (7, 8))
    assert containers.variables(spec(tmp_path)) == {
        "HOME": "/tmp",  # noqa: S108 - in the container
        "A": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "FETCHML_WORKSPACE": "/workspace",
        "FETCHML_DATASETS": "/data",
        "FETCHML_OUTPUTS": "/outputs",
    }
    assert "CUDA_VISIBLE_DEVICES" not in containers.variables(spec(tmp_path, gpu=1))
