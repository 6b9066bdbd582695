"""An account that is not root, for servers whose tasks run as it. Needs root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    home: Path
    folder: Path
    """A folder of the account, where others may come by."""

    def command(self, *words: str, groups: Sequence[str] = ()) -> list[str]:
        """A command as the account, in further `groups`."""
        ids = ",".join([str(self.uid), *groups])
        user = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", f"--groups={ids}"]
        return [*user, "env", f"--chdir={self.folder}", f"HOME={self.home}", *words]

    def make_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        shutil.chown(folder, self.uid, self.uid)
        return folder


_used: list[int] = []
"""Uids of earlier accounts: Slurm remembers the groups of a uid."""


@contextmanager
def account(*groups: str, suffix: str = "") -> Iterator[Account]:
    """Make an account with ranges of further ids, in these `groups`; remove it afterwards.
    `suffix`: of its name, where there are several."""
    name = f"fml{os.getpid()}{suffix}"
    more = [f"--groups={','.join(groups)}"] if groups else []
    more += ["--key", f"UID_MIN={1 + max(_used)}"] if _used else []
    subprocess.run(["useradd", "--create-home", *more, name], check=True, capture_output=True)
    folder = Path(tempfile.mkdtemp(prefix="fetchml-account-"))
    folder.chmod(0o755)
    try:
        found = pwd.getpwnam(name)
        _used.append(found.pw_uid)
        shutil.chown(folder, found.pw_uid, found.pw_gid)
        yield Account(name, found.pw_uid, Path(found.pw_dir), folder)
    finally:
        subprocess.run(["userdel", "--force", "--remove", name], check=True, capture_output=True)
        shutil.rmtree(folder)
