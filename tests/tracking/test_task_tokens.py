"""Tokens of tasks: only the server's own are accepted."""

import secrets
from collections.abc import Callable

import pytest

from fetchml.tracking.task_tokens import TaskTokens

TASK = "019b0000-0000-7000-8000-000000000001"
OTHER = "019b0000-0000-7000-8000-000000000002"


def test_a_token_names_its_task() -> None:
    tokens = TaskTokens(secrets.token_bytes(32))
    token = tokens.issue(TASK)
    assert tokens.task_of(token) == TASK
    assert tokens.issue(TASK) == token != tokens.issue(OTHER)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token.replace(TASK, OTHER),
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: token + "\n",
        lambda token: token.upper(),
        lambda token: token[:-1] + "é",
        lambda token: "",
    ],
)
def test_another_token_names_no_task(spoil: Callable[[str], str]) -> None:
    tokens = TaskTokens(secrets.token_bytes(32))
    assert tokens.task_of(spoil(tokens.issue(TASK))) is None


def test_a_token_of_another_server_names_no_task() -> None:
    token = TaskTokens(secrets.token_bytes(32)).issue(TASK)
    assert TaskTokens(secrets.token_bytes(32)).task_of(token) is None
