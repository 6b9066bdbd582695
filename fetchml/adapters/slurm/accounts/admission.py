"""Prepares the shared folder for jobs of the accounts of users."""

from pathlib import Path

from fetchml.adapters.slurm.accounts import folders
from fetchml.adapters.slurm.accounts.account import Accounts
from fetchml.adapters.slurm.start_files import owner_of
from fetchml.ports.launcher import LaunchSpec, PrepareError


class Admission:
    """Used in threads."""

    def __init__(self, accounts: Accounts, shared_dir: Path) -> None:
        self._accounts = accounts
        self._shared_dir = shared_dir

    def open(self) -> None:
        """Make the folder ready. Raises OSError if it can't be."""
        if not self._accounts.others:
            return
        if not folders.supports_lists(self._shared_dir):
            raise OSError(
                "its file system has no POSIX access lists (ACLs), which accounts of users need"
            )
        folders.open_top(self._shared_dir)

    def require_owner(self, run: LaunchSpec) -> None:
        """Raises PrepareError if the attempt's files are not those of the user's account."""
        account = self._accounts.of(run.user)
        if account is not None and owner_of(run) != account.owner:
            raise PrepareError(
                f"its files belong to another account than {account.name}, as whom the jobs of "
                f"{run.user} run ([slurm.users.{run.user}] user)",
                permanent=False,
            )

    def admit(self, run: LaunchSpec) -> None:
        """Let the account into the attempt's folder, before its job is submitted. Raises
        OSError."""
        account = self._accounts.of(run.user)
        if account is not None:
            folders.admit(run, self._shared_dir, account.uid)
