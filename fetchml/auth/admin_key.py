"""The first admin key of a new data directory."""

import logging
import re
from collections.abc import Callable

from fetchml.auth.keyring import Keyring, new_secret
from fetchml.core.model import Role

log = logging.getLogger(__name__)


class BadAdminKey(Exception):
    """FETCHML_ADMIN_KEY cannot be used; the message gives the reason, without the key."""


async def ensure_admin(
    keyring: Keyring, wanted: str | None, keep: Callable[[str], None]
) -> str | None:
    """Make the first admin key if the server has no key at all.

    `wanted` (FETCHML_ADMIN_KEY) becomes that key. Without it a new key is made, handed to `keep`,
    which writes it to a file, and returned, to be shown once. Raises BadAdminKey.
    """
    if keyring.list():
        if wanted and keyring.find(wanted) is None:
            log.warning(
                "FETCHML_ADMIN_KEY is not a key of this server: it is used only at the first "
                "start; create keys with 'fetchml keys create'"
            )
        return None
    if wanted:
        if not re.fullmatch(r"[!-~]{16,256}", wanted):
            raise BadAdminKey("FETCHML_ADMIN_KEY must be 16 to 256 visible ASCII characters")
        await keyring.add(wanted, "admin", Role.ADMIN)
        return None
    secret = new_secret()
    # The file first: a key that nobody can read must never be the only one.
    keep(secret)
    await keyring.add(secret, "admin", Role.ADMIN)
    return secret
