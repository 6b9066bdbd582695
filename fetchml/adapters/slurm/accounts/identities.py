"""As whom requests to slurmrestd are made."""

from collections.abc import Mapping

from fetchml.adapters.slurm.transports.token import Tokens
from fetchml.adapters.slurm.transports.transport import away


class Identities:
    """The server's own account, and those of users. Their names are those of Slurm's users."""

    def __init__(self, own: str, tokens: Tokens, others: Mapping[str, Tokens]) -> None:
        self._own = own
        self._tokens = tokens
        self._others = others

    def headers(self, user: str) -> dict[str, str]:
        """Return the headers of a request. `user`: empty for the server's own account. Raises
        SlurmAway."""
        try:
            return {
                "X-SLURM-USER-NAME": user or self._own,
                "X-SLURM-USER-TOKEN": self._of(user).current(),
            }
        except (OSError, ValueError, KeyError) as error:
            raise away(user, f"there is no token for slurmrestd: {_reason(error)}") from error

    def forget(self, user: str) -> None:
        """Make a new token next time, where the server makes them: Slurm refused this one."""
        if not user or user in self._others:
            self._of(user).forget()

    def _of(self, user: str) -> Tokens:
        return self._others[user] if user else self._tokens


def _reason(error: Exception) -> str:
    """Without the paths of the server's files: users see it."""
    return (error.strerror if isinstance(error, OSError) else "it has none") or str(error)
