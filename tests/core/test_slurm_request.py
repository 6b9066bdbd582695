"""The field `slurm`: allowed parameters, and values that could be options."""

import pytest

from fetchml.core.model import Resources
from fetchml.core.requests import slurm
from fetchml.core.requests.submission import Defaults, InvalidSubmission, TaskLimits, field_fault
from tests.support.accepting import accept
from tests.support.project_files import project_of

DEFAULTS = Defaults("image", ("run",), TaskLimits(), 0)
CAPACITY = Resources(8, 8, 8)
GOOD = {
    "partition": "gpu,a100-80",
    "account": "physics.dept",
    "qos": "high",
    "constraint": "[rack1|rack2]&a100",
    "reservation": "course_2026",
    "gres": "gpu:a100:2,disk:1",
    "nice": "100",
    "exclusive": "user",
    "nodelist": "g[1-3],c3",
    "exclude": "g2",
    "licenses": "matlab@site:2",
}


@pytest.mark.parametrize("name", slurm.NAMES)
def test_every_parameter_has_a_rule(name: str) -> None:
    assert field_fault("slurm", {name: GOOD[name]}) is None


@pytest.mark.parametrize("name", slurm.NAMES)
@pytest.mark.parametrize(
    "value",
    ["", "-p", "--uid=0", "a b", "a\nb", "a\0b", "a;id", "$(id)", "`id`", "a'b", 'a"b', "é",
     "\u202e", "a=b\n#SBATCH --uid=0", "x" * 257, "%j", "a\\b", "/etc/passwd"],
)  # fmt: skip
def test_value_that_is_more_than_a_value_is_refused(name: str, value: str) -> None:
    assert field_fault("slurm", {name: value}) is not None


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"wrap": "x"}, "key 'wrap' is no parameter: there are partition,"),
        ({"": "x"}, "key '' is no parameter"),
        ({"nice": "-1"}, "nice must be a whole number"),
        ({"nice": "10001"}, "nice must be a whole number"),
        ({"nice": "1e3"}, "nice must be a whole number"),
        ({"nice": 5}, "nice must be a string"),
        ({"exclusive": "false"}, 'exclusive must be "true" or "user"'),
        ({"gres": "gpu:a:b:c"}, "gres must be"),
        ({"gres": "gpu::2"}, "gres must be"),
        ({"gres": "gpu:2,"}, "gres must be"),
        ({f"n{i}": "x" for i in range(1001)}, "must not have more than 11 entries"),
        ([], "must be an object of strings"),
    ],
)
def test_broken_rule_is_named(value: object, rule: str) -> None:
    assert (field_fault("slurm", value) or "").startswith(rule)


@pytest.mark.parametrize(
    ("asked", "gpu", "allow", "fault"),
    [
        ({"qos": "high"}, 0, ("qos",), None),
        ({"qos": "high"}, 0, ("qos=high", "qos=low"), None),
        ({"qos": "top"}, 0, ("qos=high",), "qos is not allowed with this value"),
        ({"qos": "high"}, 0, (), "this server allows no parameter"),
        ({"qos": "high"}, 0, None, "leave it out"),
        ({"gres": "gpu:a100:2"}, 2, ("gres",), None),
        ({"gres": "gpu"}, 1, ("gres",), None),
        ({"gres": "disk:1"}, 0, ("gres",), None),
        ({"gres": "gpu:a100:2"}, 1, ("gres",), "gres must have the number of GPUs"),
        ({"gres": "gpu:8"}, 0, ("gres",), "gres must have the number of GPUs"),
        ({"gres": "gpu:1k"}, 1, ("gres",), "gres must have the number of GPUs"),
        # Entries add up, and Slurm's names of them have no case.
        ({"gres": "gpu:1,gpu:1,gpu:1"}, 1, ("gres",), "gres must have the number of GPUs"),
        ({"gres": "gpu:a100:1,gpu:h100:2"}, 3, ("gres",), None),
        ({"gres": "GPU:8"}, 0, ("gres",), "gres must have the number of GPUs"),
        ({"gres": "gpu:1,gpu:1k"}, 1, ("gres",), "gres must have the number of GPUs"),
        # Parts of GPUs count in no quota.
        ({"gres": "shard:64"}, 0, ("gres",), "gres shard is not allowed, since no quota counts it"),
        ({"gres": "disk:1,MPS:100"}, 0, ("gres",), "by the entry gres=mps of [slurm] allow"),
        ({"gres": "shard:64"}, 0, ("gres", "gres=mps"), "gres shard is not allowed"),
        ({"gres": "shard:64"}, 0, ("gres", "gres=shard"), None),
        ({"gres": "shard:64"}, 0, ("gres=shard",), "gres is not allowed with this value"),
        ({"gres": "shard:2"}, 0, ("gres=shard:2",), None),
    ],
)
def test_settings_decide_which_parameters_are_allowed(
    asked: dict[str, str], gpu: int, allow: tuple[str, ...] | None, fault: str | None
) -> None:
    found = slurm.fault(asked, gpu, allow)
    assert found is None if fault is None else fault in (found or ""), found


def test_entries_of_the_project_file_stay_beside_the_requests() -> None:
    project = '[slurm]\npartition = "a"\nqos = "low"\n'
    allow = ("partition", "qos")
    request = {"job_name": "a", "slurm": {"qos": "high"}}
    spec = accept(request, DEFAULTS, CAPACITY, project_of(project), slurm_allow=allow)
    assert spec.slurm == {"partition": "a", "qos": "high"}
    with pytest.raises(InvalidSubmission) as refused:
        accept({"job_name": "a"}, DEFAULTS, CAPACITY, project_of(project), slurm_allow=("qos",))
    [violation] = refused.value.violations
    assert violation.field == "fetchml.toml"
    assert violation.rule.startswith("line 1: slurm partition is not allowed")
