"""Settings of accounts of users, which the start of the server refuses or takes."""

import os
from typing import Any

import pytest

from fetchml.config.settings import SlurmSettings
from fetchml.core.requests.slurm import user_fault
from fetchml.server import slurm_accounts
from fetchml.server.cannot_start import CannotStart
from fetchml.system import capabilities

NOBODY = {"ada": {"user": "nobody"}}


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(capabilities, "may_hand_over", lambda: True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"users": {"ada": {"user": "-u root"}}}, r"users\.ada\] user: '-u root' can't be"),
        ({"users": {"ada": {"user": "#0"}}}, "'#0' can't be the name of an account"),
        ({"users": {"ada": {"user": "no-such-user"}}}, "this host has no account no-such-user"),
        ({"users": {"ada": {"token_file": "/t"}}}, "token_file needs user"),
        ({"users": NOBODY, "become": "ssh"}, "set .slurm. ssh"),
        ({"users": NOBODY, "become": "setuid", "ssh": "login1"}, "on the host of ssh"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(CannotStart, match=said):
        slurm_accounts.accounts_of(SlurmSettings(**given))


def test_root_is_nobodys_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    users = {"ada": {"user": "root"}}
    with pytest.raises(CannotStart, match="its tasks would be root on the nodes"):
        slurm_accounts.accounts_of(SlurmSettings(users=users))


def test_server_without_rights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "may_hand_over", lambda: False)
    with pytest.raises(CannotStart, match="CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_FOWNER"):
        slurm_accounts.accounts_of(SlurmSettings(users=NOBODY))
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    own = slurm_accounts.accounts_of(SlurmSettings(users=NOBODY, unmapped="refuse"))
    assert own.of("ada") is None, "the server's own account needs none"
    assert own.fault("ada") is None
    assert own.fault("bob") == user_fault("bob", ["ada"])


def test_account_over_rest_needs_a_token() -> None:
    with pytest.raises(CannotStart, match="nobody needs a token_file"):
        slurm_accounts.tokens_of(SlurmSettings(users=NOBODY))
    users = {"ada": {"user": "nobody", "token_file": "/t"}, "eve": {"user": "nobody"}}
    with pytest.raises(CannotStart, match="nobody needs a token_file"):
        slurm_accounts.tokens_of(SlurmSettings(users=users))
    users["eve"]["token_file"] = "/t"
    assert slurm_accounts.tokens_of(SlurmSettings(users=users)).keys() == {"nobody"}


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({}, "setpriv"),
        ({"ssh": "login1"}, "sudo"),
        ({"become": "sudo"}, "sudo"),
    ],
)
def test_commands_become_the_account(given: dict[str, Any], first: str) -> None:
    ways = slurm_accounts.run_as_by_account(SlurmSettings(users=NOBODY, **given))
    assert ways["nobody"].prefix[0] == first


def test_user_without_account_is_told_what_to_do() -> None:
    assert user_fault("ada", None) is None
    assert user_fault("ada", ("ada",)) is None
    fault = user_fault("bob", ("ada",))
    assert fault is not None
    assert "[slurm.users.bob] user" in fault
