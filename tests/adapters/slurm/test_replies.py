"""Replies of old and new versions, as their documentation shows them."""

from pathlib import Path

import msgspec
import pytest

from fetchml.adapters.slurm import commands, nodes, rest
from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.tokens import Tokens, make_token
from fetchml.adapters.slurm.transport import is_away, is_permanent


def test_job_of_rest_0_0_40_and_later() -> None:
    reply = {
        "job_id": 7,
        "name": "n",
        "job_state": ["CANCELLED", "COMPLETING"],
        "state_reason": "None",
        "nodes": "g1",
        "exit_code": {"return_code": {"set": True, "infinite": False, "number": 3}},
        "start_time": {"set": True, "infinite": False, "number": 0},
    }
    job = msgspec.convert(reply, rest.Entry).job()
    assert job == Job(7, ("CANCELLED", "COMPLETING"), "n", "None", "g1", code=3)
    assert not job.is_over


@pytest.mark.parametrize(
    ("line", "job"),
    [
        (
            "12|PENDING|Resources||2026-01-02T03:04:05|ada|fetchml-a|b",
            ("PENDING", "Resources", "", "fetchml-a|b"),
        ),
        ("12|RUNNING|None|g1|N/A|ada|x", ("RUNNING", "None", "g1", "x")),
    ],
)
def test_line_of_squeue(line: str, job: tuple[str, str, str, str]) -> None:
    found = commands._job(line)
    assert found is not None
    assert (found.state[0], found.reason, found.nodes, found.name) == job
    assert found.user == "ada"


@pytest.mark.parametrize(
    "line", ["", "12_[1-9]|PENDING|None||N/A|ada|x", "a|b", "||||||", "12|RUNNING|None|g1|N/A|x"]
)
def test_line_of_squeue_that_is_no_job_of_ours(line: str) -> None:
    assert commands._job(line) is None


def test_names_of_jobs_forge_no_row() -> None:
    forged = "9|COMPLETED|None|n1|N/A|ada|fetchml-a"
    ends = ("\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029")
    rows = [f"{i}|PENDING|None||N/A|ada|x{end}{forged}" for i, end in enumerate(ends)]
    out = "".join(f"mark|{row}\n" for row in [*rows, "12|RUNNING|None|g1|N/A|ada|fetchml-b"])
    found = commands._jobs(out, "mark|")
    assert [(each.id, each.name) for each in found] == [(0, "x"), (12, "fetchml-b")]


def test_text_in_a_node_forges_no_other() -> None:
    found = nodes.of_scontrol("NodeName=a Comment=x\u2028NodeName=b State=IDLE\n")
    assert [each.name for each in found] == ["a"]


@pytest.mark.parametrize(
    ("words", "permanent"),
    [
        ("Invalid partition name specified", True),
        ("Requested node configuration is not available", True),
        ("Slurm temporarily unable to accept job, sleeping and retrying", False),
        ("Job violates accounting/QOS policy (job submit limit, …)", False),
        ("Required partition not available (inactive or drain)", False),
        ("words of a version to come", False),
    ],
)
def test_refusals(words: str, permanent: bool) -> None:
    assert is_permanent(words) == permanent
    assert not is_away(words)


@pytest.mark.parametrize(
    "words",
    [
        "Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "slurm_load_jobs error: Socket timed out on send/recv operation",
        "Protocol authentication error",
    ],
)
def test_words_of_a_controller_that_is_away(words: str) -> None:
    assert is_away(words)


@pytest.mark.parametrize(
    ("state", "takes"),
    [
        (("IDLE",), True),
        (("MIXED", "CLOUD"), True),
        (("ALLOCATED",), True),
        (("IDLE", "DRAIN"), False),
        (("DOWN*",), False),
        (("DOWN", "NOT_RESPONDING"), False),
        (("DRAINED",), False),
    ],
)
def test_nodes_that_take_work(state: tuple[str, ...], takes: bool) -> None:
    assert nodes.takes_work(state) == takes


def test_token_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = Tokens("user", file, None)
    for text, token in (("SLURM_JWT=abc\n", "abc"), ("def", "def")):
        file.write_text(text)
        assert tokens.current() == token
    file.write_text("\n")
    with pytest.raises(ValueError, match="holds no token"):
        tokens.current()


def test_made_token_has_three_parts_and_is_kept(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"secret")
    tokens = Tokens("user", None, key)
    first = tokens.current()
    assert tokens.current() == first
    assert first.count(".") == 2
    assert make_token(b"secret", "user", 1) != make_token(b"other", "user", 1)
