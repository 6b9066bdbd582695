"""The rules for a new API key."""

import pytest

from fetchml.core.model import Role
from fetchml.core.requests import key

NOW = 1_000


@pytest.mark.parametrize(
    ("name", "role", "expires_at", "fields"),
    [
        ("ada", Role.USER, None, []),
        ("a.b_c@d-1", Role.VIEWER, NOW + 1, []),
        ("ada", Role.ADMIN, key.LAST_EXPIRY_MS, []),
        ("", Role.USER, None, ["name"]),
        ("ada", None, None, ["role"]),
        ("ada", Role.USER, NOW, ["expires_at"]),
        ("ada", Role.USER, -1, ["expires_at"]),
        ("ada", Role.USER, key.LAST_EXPIRY_MS + 1, ["expires_at"]),
        ("a b", None, -1, ["name", "role", "expires_at"]),
    ],
)
def test_every_broken_rule_is_named(
    name: str, role: Role | None, expires_at: int | None, fields: list[str]
) -> None:
    found = list(key.violations(name, role, expires_at, NOW))
    assert [violation.field for violation in found] == fields


def test_rule_for_roles_lists_them() -> None:
    (violation,) = key.violations("ada", None, None, NOW)
    assert violation.rule == "must be viewer, user or admin"
