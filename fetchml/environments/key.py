"""The key of an environment in the cache: equal keys have equal packages at equal paths."""

import hashlib

from fetchml.ports.launcher import Owner

SCHEME = 1
"""Changes when the same files would be installed in another way."""


def environment_key(
    *,
    user: str,
    content: str,
    uv_version: str,
    platform: str,
    options: str,
    place: str | None,
    owner: Owner,
) -> str:
    """Return the key as 64 hexadecimal digits.

    user: nobody gets packages that another user's files built.
    content: digest of the files that list the packages, the lock file among them.
    platform: identity of the image's Python and C library. The name of the image is left out:
        images with the same Python share an environment.
    options: settings of the server that lead uv to other packages.
    place: path of the environment inside of a task, which scripts of packages contain; `None`: it
        stays where it was built.
    owner: uid and gid of the files.
    """
    parts = (SCHEME, user, content, uv_version, platform, options, place, owner)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
