"""Which value of a variable wins."""

from pathlib import Path, PurePosixPath

import pytest

from fetchml.core.model import SecretUse, SweepMember
from fetchml.ports.launcher import LaunchSpec
from fetchml.ports.task_environment import (
    CONTAINER_DEFAULTS,
    PROCESS_DEFAULTS,
    GpuVariables,
    TaskFolders,
    TrackingAccess,
    attempt_variables,
    cluster_gpus,
    container_gpus,
    environment,
    process_gpus,
)
from tests.support import tasks

FOLDERS = TaskFolders(
    PurePosixPath("/workspace"), PurePosixPath("/data"), PurePosixPath("/outputs")
)
OF_FOLDERS = {
    "FETCHML_WORKSPACE": "/workspace",
    "FETCHML_DATASETS": "/data",
    "FETCHML_OUTPUTS": "/outputs",
}


def run(tmp_path: Path, env: dict[str, str]) -> LaunchSpec:
    return LaunchSpec("t", 1, job_name="job", folder=tmp_path, image="", argv=(), env=env)


def test_the_request_replaces_defaults_and_nothing_else(tmp_path: Path) -> None:
    request = {"PATH": "/mine", "HOME": "/mine", "FETCHML_OUTPUTS": "/etc"}
    for defaults in (PROCESS_DEFAULTS, CONTAINER_DEFAULTS):
        found = environment(run(tmp_path, request), FOLDERS, {}, defaults)
        assert found == {"PATH": "/mine", "HOME": "/mine"} | OF_FOLDERS


def test_the_request_does_not_replace_the_identity() -> None:
    mine = {"FETCHML_TASK_ID": "other", "FETCHML_PARAM_LR": "9", "A": "1"}
    member = SweepMember("the-sweep", 0, {"lr": "0.5"})
    task = tasks.task(spec=tasks.spec(env=mine, sweep=member))
    found = attempt_variables(task)
    assert (found["FETCHML_TASK_ID"], found["FETCHML_PARAM_LR"], found["A"]) == ("t", "0.5", "1")


TRACKING = TrackingAccess("http://127.0.0.1:29101/mlflow", "fmt_token", "digits")
MLFLOW = {
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:29101/mlflow",
    "MLFLOW_TRACKING_TOKEN": "fmt_token",
    "MLFLOW_EXPERIMENT_NAME": "digits",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@pytest.mark.parametrize(
    ("env", "secrets", "found"),
    [
        ({}, (), MLFLOW),
        ({"MLFLOW_EXPERIMENT_NAME": "mine"}, (), {**MLFLOW, "MLFLOW_EXPERIMENT_NAME": "mine"}),
        # The token must not reach another server, and a user's password wins over a token.
        ({"MLFLOW_TRACKING_URI": "http://mine"}, (), {"MLFLOW_TRACKING_URI": "http://mine"}),
        ({}, ("MLFLOW_TRACKING_PASSWORD",), {}),
    ],
)
def test_variables_of_mlflow(
    env: dict[str, str], secrets: tuple[str, ...], found: dict[str, str]
) -> None:
    spec = tasks.spec(env=env, secrets=tuple(SecretUse(name) for name in secrets))
    variables = attempt_variables(tasks.task(spec=spec), TRACKING)
    assert {name: value for name, value in variables.items() if "MLFLOW" in name} == found


def test_variables_of_a_sweep() -> None:
    member = SweepMember("the-sweep", 0, {"lr": "0.5", "Model_2": "a b"})
    variables = attempt_variables(tasks.task(spec=tasks.spec(sweep=member)))
    names = ("FETCHML_PARAM_", "FETCHML_SWEEP_")
    assert {name: value for name, value in variables.items() if name.startswith(names)} == {
        "FETCHML_PARAM_LR": "0.5",
        "FETCHML_PARAM_MODEL_2": "a b",
        "FETCHML_SWEEP_ID": "the-sweep",
        "FETCHML_SWEEP_INDEX": "0",
    }


GREEDY = {
    "CUDA_VISIBLE_DEVICES": "0,1",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "FETCHML_GPU_UUIDS": "all",
}


@pytest.mark.parametrize(
    "gpus",
    [
        process_gpus([]),
        process_gpus(["U"]),
        container_gpus([], "void"),
        container_gpus(["U"], "U"),
        cluster_gpus(0),
        cluster_gpus(1),
    ],
)
def test_the_request_names_no_gpus(tmp_path: Path, gpus: GpuVariables) -> None:
    found = environment(run(tmp_path, GREEDY), FOLDERS, gpus, {})
    assert {name: found.get(name) for name in gpus} == gpus
    assert "FETCHML_GPU_UUIDS" in gpus


def test_numbers_of_a_clusters_gpus_are_set_on_the_node() -> None:
    assert cluster_gpus(0)["CUDA_VISIBLE_DEVICES"] == ""
    assert cluster_gpus(1)["CUDA_VISIBLE_DEVICES"] is None
