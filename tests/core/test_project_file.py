"""Entries of fetchml.toml that name other tasks, a time or a hold."""

import pytest
from msgspec.structs import replace

from fetchml.core.model import Condition, Dependency, Resources, SecretUse, Status, TaskSpec
from fetchml.core.requests import rerun
from fetchml.core.requests.submission import Defaults, InvalidSubmission, TaskLimits
from tests.support.accepting import accept
from tests.support.project_files import project_of
from tests.support.tasks import task

DEFAULTS = Defaults("image", ("true",), TaskLimits(), 0)
HOST = Resources(4, 8, 1)
NOON_MS = 1_796_126_400_000
"""2026-12-01T12:00:00Z"""
WHOLE = """
after = ["a", { task_id = "b", condition = "ended" }, { sweep_id = "s", condition = "failed" }]
inputs_from = ["c"]
checkpoint_from = "d"
start_after = 2026-12-01T12:00:00Z
hold = true
"""


def accepted(project: str, **request: object) -> TaskSpec:
    return accept({"job_name": "a", **request}, DEFAULTS, HOST, project_of(project))


def test_project_file_names_other_tasks_a_time_and_a_hold() -> None:
    spec = accepted(WHOLE)
    assert spec.after == (
        Dependency("a"),
        Dependency("b", Condition.ENDED),
        Dependency("", Condition.FAILED, "s"),
        Dependency("c"),
    )
    assert spec.inputs_from == ("c",)
    assert (spec.checkpoint_from, spec.checkpoint) == ("d", True)
    assert (spec.start_after, spec.hold) == (NOON_MS, True)


@pytest.mark.parametrize(
    "written",
    [
        '"2026-12-01T12:00:00Z"',
        '"2026-12-01T13:00:00+01:00"',
        "2026-12-01T12:00:00Z",
        "2026-12-01 12:00:00.000+00:00",
        "2026-12-01T04:00:00-08:00",
    ],
)
def test_time_is_a_text_or_one_of_toml_with_an_offset(written: str) -> None:
    assert accepted(f"start_after = {written}").start_after == NOON_MS


def test_request_takes_the_place_of_each_entry() -> None:
    spec = accepted(
        WHOLE,
        after=["x"],
        inputs_from=["y"],
        checkpoint_from="z",
        start_after="2026-12-01T12:00:01Z",
        hold=False,
    )
    assert spec.after == (Dependency("x"), Dependency("y"))
    assert (spec.inputs_from, spec.checkpoint_from) == (("y",), "z")
    assert (spec.start_after, spec.hold) == (NOON_MS + 1000, False)


def test_request_takes_entries_away() -> None:
    spec = accepted(
        WHOLE + "volumes = ['v']\nsecrets = [{ name = 'S' }]\n",
        after=[],
        inputs_from=[],
        volumes=[],
        secrets=[],
        start_after="1970-01-01T00:00:00Z",
    )
    assert (spec.after, spec.inputs_from, spec.start_after) == (None, None, None)
    assert (spec.volumes, spec.secrets) == (None, None)
    assert accepted(WHOLE, checkpoint=False).checkpoint_from is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("after = [{ task_id = 'a', sweep_id = 'b' }]", "after item 0 must have task_id or"),
        ("after = [{ task_id = 'a', condition = 'later' }]", "condition must be one of"),
        ("after = [{ task_id = 2026-12-01T12:00:00Z }]", "after item 0 task_id must be a string"),
        (f"inputs_from = {[str(n) for n in range(101)]}", "inputs_from must not have more than"),
        ("checkpoint_from = ''", "checkpoint_from must not be empty"),
        (r"checkpoint_from = 'a\u0000'".replace("'", '"'), "checkpoint_from must "),
        ("checkpoint = false\ncheckpoint_from = 'a'", "line 3: checkpoint_from needs a checkpoint"),
        ("start_after = 2026-12-01T12:00:00", "start_after must be a time such as"),
        ("start_after = 'tomorrow'", "start_after must be a time such as"),
        ("start_after = 9999-12-31T23:59:59.9-23:59", "start_after must be a time such as"),
        ("hold = 1", "hold must be true or false"),
        ("hold = 2026-12-01T12:00:00Z", "hold must be true or false"),
        ("image = 2026-12-01T12:00:00+01:00", "image must be a string"),
    ],
)
def test_wrong_entries_are_reported_with_their_line(text: str, rule: str) -> None:
    with pytest.raises(InvalidSubmission) as error:
        accepted("\n" + text)
    [violation] = error.value.violations
    assert violation.field == "fetchml.toml"
    assert violation.rule.startswith("line ")
    assert rule in violation.rule, violation.rule


ASKING = """
volumes = ["v"]
secrets = [{ name = "S" }, { name = "T", as = "file" }]

[[notify]]
url = "https://a.example/x?a='&b=$(id)"
on = ["failed"]
"""


def test_file_is_given_nothing_that_only_it_asks_for() -> None:
    with pytest.raises(InvalidSubmission) as error:
        accepted(ASKING)
    [violation] = error.value.violations
    assert violation.field == "fetchml.toml"
    assert violation.rule == (
        "line 3: secrets: the file can't grant itself what it asks for. Submit with "
        "--secret S --secret T:file --volume v "
        """--notify 'failed,https://a.example/x?a='"'"'&b=$(id)', """
        "or leave it out: --without secrets --without volumes --without notify "
        "(in a request the fields secrets, volumes, notify, without)"
    )


def test_request_grants_what_it_names_and_no_more() -> None:
    """Neither the form of a secret nor the address of a webhook is the file's."""
    url = "https://own.example"
    spec = accepted(ASKING, volumes=["w"], secrets=[{"name": "T"}], notify=[{"url": url}])
    assert spec.volumes == ("w",)
    assert spec.secrets == (SecretUse("T"),)
    assert [each.url for each in spec.notify or ()] == [url]


@pytest.mark.parametrize("name", ["secrets", "volumes", "notify"])
def test_each_is_granted_or_left_out_by_itself(name: str) -> None:
    others: dict[str, list[object]] = {"secrets": [], "volumes": [], "notify": []}
    del others[name]
    with pytest.raises(InvalidSubmission, match=f"leave it out: --without {name} \\(in a request"):
        accepted(ASKING, **others)
    spec = accepted(ASKING, **others, without=[name])
    assert (spec.secrets, spec.volumes, spec.notify) == (None, None, None)


def test_long_lists_are_not_repeated() -> None:
    urls = "".join(f"[[notify]]\nurl = 'https://a.example/{n}{'x' * 1000}'\n" for n in range(5))
    with pytest.raises(InvalidSubmission) as error:
        accepted(urls)
    assert "Submit with options that name each, or" in str(error.value)


@pytest.mark.parametrize(
    ("without", "rule"),
    [
        ("secrets", "must be a list"),
        (["env"], "item 0 must be one of secrets, volumes, notify"),
        ([["secrets"]], "item 0 must be one of secrets, volumes, notify"),
    ],
)
def test_without_names_what_needs_a_grant(without: object, rule: str) -> None:
    with pytest.raises(InvalidSubmission) as error:
        accepted("", without=without)
    assert error.value.violations == [("without", rule)]


def test_file_that_asks_for_nothing_needs_no_grant() -> None:
    assert accepted("volumes = []\nsecrets = []\nnotify = []\n").secrets is None
    assert accepted("", without=["secrets", "secrets"]).secrets is None


def test_task_that_is_submitted_again_takes_nothing_from_the_file() -> None:
    """Its conditions have held, and it is wanted now."""
    project = WHOLE + "environment = { requirements = 'r.txt' }\n[[notify]]\nurl = 'https://a.b'\n"
    spec = accepted("", snapshot_id="s")
    request = rerun.request_of(replace(task(status=Status.FAILED), spec=spec))
    assert accept(request, DEFAULTS, HOST, project_of(project)) == spec
