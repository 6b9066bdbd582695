"""Errors of builds of environments, in uv's own words."""

import re

from fetchml.ports.environments import NO_PYTHON, NO_UV, BuildFailed
from fetchml.ports.launcher import PrepareError

MAX_CHARACTERS = 1500
"""Of uv's words. The end of a long text has the reason."""

_NOT_THE_REASON = re.compile(
    r"(Using Python|Using CPython|Resolved|Prepared|Installed|Downloading|Downloaded|Building|Built"
    r"|Updating|Updated|Audited|Uninstalled|Bytecode compiled|Creating|Activate) |[ +~-]+ \S+==|$"
)
_MAY_PASS = re.compile(
    r"Failed to fetch|error sending request|dns error|timed out|Temporary failure|No space left"
    r"|Connection re|operation timed out|status server error|HTTP status server|network",
    re.IGNORECASE,
)
"""Words of faults that another try may not meet."""
_STEERING = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_PASSWORD = re.compile(r"://[^/\s]*@")
"""Up to the last `@`: one in a password need not be encoded."""


def prepare_error(name: str, failed: BuildFailed) -> PrepareError:
    """Return the error of a task whose environment can't be built. `name`: of the file."""
    if failed.why:
        return PrepareError(f"{name}: the environment was not built: {failed.why}", permanent=True)
    if failed.code == NO_PYTHON:
        message = f"{name}: the image has no python3, so it can't have an environment"
        return PrepareError(message, permanent=True)
    words = in_uvs_words(failed.output)
    if failed.code == NO_UV:
        message = (
            f"{name}: uv does not run in this image: set [environments] uv to the statically "
            f"linked binary (musl){': ' + words if words else ''}"
        )
        return PrepareError(message, permanent=True)
    words = words or f"it ended with exit code {failed.code} and no message"
    return PrepareError(f"{name}: uv: {words}", permanent=_MAY_PASS.search(words) is None)


def without_passwords(text: str) -> str:
    """Return a text without the names and passwords of its URLs."""
    return _PASSWORD.sub("://***@", text)


def in_uvs_words(output: bytes) -> str:
    """Return the reason in the end of uv's output, without passwords."""
    text = _STEERING.sub("", output.decode(errors="replace"))
    lines = [line.rstrip() for line in text.split("\n")]
    reason = [line for line in lines if not _NOT_THE_REASON.match(line)]
    # uv's own words begin with `error:`; a failed build of a package shows its output after it.
    first = next((n for n, line in enumerate(reason) if line.startswith("error:")), 0)
    words = " ".join(" ".join(reason[first:]).split()).removeprefix("error: ")
    words = without_passwords(words)
    if len(words) <= MAX_CHARACTERS:
        return words
    half = MAX_CHARACTERS // 2
    return f"{words[:half]} … {words[-half:]}"
