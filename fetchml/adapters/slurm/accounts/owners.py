"""The owners of the files of tasks whose jobs run as accounts of their own."""

from fetchml.adapters.slurm.accounts.account import Accounts
from fetchml.ports.launcher import Owner, PrepareError


class AccountOwners:
    """`FileOwners`: each account owns what its jobs write."""

    def __init__(self, accounts: Accounts, own: Owner) -> None:
        """`own`: of the server's account."""
        self._accounts = accounts
        self._own = own

    async def of(self, user: str) -> Owner:
        if fault := self._accounts.fault(user):
            raise PrepareError(fault, permanent=True)
        account = self._accounts.of(user)
        return self._own if account is None else account.owner

    def owns_files(self, uid: int) -> bool:
        """A job has its own user's account, whoever owns a workspace."""
        return False
