"""Secrets of users: set, listed by name, removed, and given to their tasks. No verb returns a value
to a caller.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fetchml.auth.audit import Audit
from fetchml.core.audit import Action
from fetchml.core.model import Principal, SecretUse, Task, Value
from fetchml.core.permissions import AdminOnly, may_submit, refusal
from fetchml.core.requests import secrets as rules
from fetchml.core.requests.secrets import Secret
from fetchml.errors import (
    DiskFull,
    FieldViolation,
    Forbidden,
    NotFound,
    RequestError,
    Unavailable,
    ValidationFailed,
    forbid,
)
from fetchml.files import secrets_file
from fetchml.ports.launcher import PrepareError, Secrets
from fetchml.ports.store import Store
from fetchml.records import RecordSet
from fetchml.user_secrets.seal import OVERHEAD_BYTES, BadSeal, Sealer, load_key, make_key

KIND = "secret"
MAX_SECRETS = 10_000

_log = logging.getLogger(__name__)


class SecretRecord(Value, frozen=True):
    user: str
    name: str
    created_at: int
    updated_at: int
    sealed: bytes
    """The encrypted value, bound to user and name."""

    @property
    def shown(self) -> Secret:
        return Secret(self.user, self.name, self.created_at, self.updated_at)


class UserSecrets:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        records: RecordSet[SecretRecord],
        store: Store,
        audit: Audit,
        *,
        clock: Callable[[], int],
        data_dir: Path,
    ) -> None:
        """`records`: all that the store has. `data_dir`: the folder with the encryption key, which
        the first secret creates."""
        self._records = records
        self._store = store
        self._audit = audit
        self._clock = clock
        self._data_dir = data_dir
        self._sealer: Sealer | None = None
        """`None` until it is needed."""

    @classmethod
    async def load(
        cls, store: Store, audit: Audit, *, clock: Callable[[], int], data_dir: Path
    ) -> "UserSecrets":
        """Read all secrets from the open store."""
        records = RecordSet(store, KIND, SecretRecord, lambda each: _id(each.user, each.name))
        await records.load()
        return cls(records, store, audit, clock=clock, data_dir=data_dir)

    def __len__(self) -> int:
        return len(self._records)

    async def set(self, who: Principal, name: str, request: Mapping[str, object]) -> Secret:
        """Create a secret or replace its value; durable on return."""
        _require_user(who)
        value, violations = rules.read_value(request)
        faults = [FieldViolation(*each) for each in violations]
        if wrong := rules.name_fault(name):
            faults.insert(0, FieldViolation("name", wrong))
        if faults:
            raise ValidationFailed(faults)
        if not self._store.has_room():
            raise DiskFull
        return await self._records.change(self._set, who, name, value.encode())

    def list(self, who: Principal, user: str | None = None) -> list[Secret]:
        """Return the secrets of a user by name, without their values. `user`: `None` for the
        caller; another user for admins."""
        owner = _owner(who, user)
        secrets = [each.shown for each in self._records if each.user == owner]
        return sorted(secrets, key=lambda each: each.name)

    async def delete(self, who: Principal, name: str, user: str | None = None) -> None:
        """Remove a secret; durable on return. `user`: as for `list`."""
        owner = _owner(who, user)
        await self._records.change(self._delete, who, owner, name)

    def fault(self, user: str, uses: Sequence[SecretUse]) -> str | None:
        """Return the reason why a task of this user can't have these secrets; `None` if it can."""
        for use in uses:
            if _id(user, use.name) not in self._records:
                return f"secret {use.name} not found: set it first (fetchml secret set)"
        return None

    def provide(self, task: Task) -> Secrets:
        """Return the values that an attempt of the task gets now. Raises PrepareError."""
        content = secrets_file.encode(
            (use, self._open(task.user, use.name)) for use in task.spec.secrets or ()
        )
        return Secrets(content)

    def _open(self, user: str, name: str) -> bytes:
        record = self._records.get(_id(user, name))
        if record is None:
            raise PrepareError(
                f"its secret {name} was removed: set it again (fetchml secret set), and submit the "
                "task again",
                permanent=True,
            )
        try:
            self._sealer = self._sealer or Sealer(load_key(self._data_dir))
            return self._sealer.open(record.sealed, _label(user, name))
        except (BadSeal, FileNotFoundError):
            pass
        except OSError as error:
            message = f"cannot read the server's secrets.key: {error}"
            raise PrepareError(message, permanent=False) from error
        raise PrepareError(
            f"its secret {name} can't be decrypted, since the server's secrets.key is another one "
            "than when it was set: set it again (fetchml secret set)",
            permanent=True,
        )

    async def _set(self, who: Principal, name: str, value: bytes) -> Secret:
        before = self._records.get(_id(who.user, name))
        self._require_capacity(who.user, before, len(value))
        try:
            sealer = self._sealer = self._sealer or Sealer(make_key(self._data_dir))
        except OSError as error:
            _log.exception("reading secrets.key failed")
            raise Unavailable("The server cannot read secrets.key: see its log") from error
        now = self._clock()
        record = SecretRecord(
            who.user,
            name,
            before.created_at if before else now,
            now,
            sealer.seal(value, _label(who.user, name)),
        )
        await self._records.put(record)
        await self._audit.done(who, Action.SECRET_SET, name)
        return record.shown

    async def _delete(self, who: Principal, owner: str, name: str) -> None:
        if _id(owner, name) not in self._records:
            raise NotFound(f"Secret {name[:64]!r} not found")
        await self._records.remove(_id(owner, name))
        detail = None if owner == who.user else f"of {owner}"
        await self._audit.done(who, Action.SECRET_DELETE, name, detail)

    def _require_capacity(self, user: str, before: SecretRecord | None, size: int) -> None:
        """Raises RequestError if the value is one too many."""
        others = [each for each in self._records if each is not before]
        own = [each for each in others if each.user == user]
        if len(own) >= rules.MAX_OF_ONE_USER:
            raise _too_many(f"Per-user secret limit ({rules.MAX_OF_ONE_USER}) reached")
        if _size(own) + size > rules.MAX_BYTES_OF_ONE_USER:
            most = rules.MAX_BYTES_OF_ONE_USER >> 10
            raise _too_many(f"Limit of {most} KiB of secrets per user reached")
        if len(others) >= MAX_SECRETS or _size(others) + size > rules.MAX_BYTES:
            raise _too_many("Server limit of secrets reached")


def _size(records: Sequence[SecretRecord]) -> int:
    return sum(len(each.sealed) - OVERHEAD_BYTES for each in records)


def _too_many(why: str) -> RequestError:
    return Unavailable(f"{why}: remove some (fetchml secret rm)")


def _require_user(who: Principal) -> None:
    if not may_submit(who):
        raise Forbidden("Viewers cannot have secrets")


def _owner(who: Principal, user: str | None) -> str:
    """Whose secrets are meant. Raises Forbidden."""
    _require_user(who)
    if user is None or user == who.user:
        return who.user
    forbid(refusal(who, AdminOnly.SECRETS_OF_OTHERS))
    return user


def _id(user: str, name: str) -> str:
    return f"{user}/{name}"


def _label(user: str, name: str) -> bytes:
    return _id(user, name).encode()
