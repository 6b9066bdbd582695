"""The time that fuzzing takes, shared by the targets.

`FUZZ_SECONDS` is the time of all targets together. `make test`, and so CI, fuzzes for two
minutes; `make fuzz` for longer.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FUZZ_SECONDS", "120"))
CASES = Path(__file__).parent / "cases"
LEAST = 30
"""Least number of inputs for a target, however slow it is."""
ROUND = 500
"""Number of inputs in one run of Hypothesis. Each run starts again, with a new seed."""


class _Over(BaseException):
    """The time is up. Hypothesis passes on what is not an Exception, such as Ctrl-C."""


def fuzz(
    name: str, parse: Callable[[bytes], None], inputs: st.SearchStrategy[bytes], seconds: float
) -> int:
    """Call `parse` with inputs for `seconds`, or until it raises: the smallest input that makes it
    raise then becomes a case of the target. Returns the number of inputs."""
    end = time.monotonic() + seconds
    parsed = 0
    failing: bytes | None = None

    # Without `derandomize`, which Hypothesis sets in CI: each run would repeat the first.
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(inputs)
    def run(data: bytes) -> None:
        nonlocal parsed, failing
        if failing is None and parsed >= LEAST and time.monotonic() > end:
            raise _Over
        parsed += 1
        try:
            parse(data)
        except Exception:
            failing = data
            raise

    try:
        while True:
            run()
    except _Over:
        return parsed
    except Exception as error:
        if failing is not None:
            error.add_note(f"The input is kept as {keep(name, failing)}")
        raise


def keep(name: str, data: bytes) -> Path:
    """Store an input as a case, which `test_earlier_findings_stay_fixed` tries from now on."""
    case = CASES / name / hashlib.sha256(data).hexdigest()[:16]
    with suppress(OSError):  # The finding itself is reported in any case.
        case.parent.mkdir(parents=True, exist_ok=True)
        case.write_bytes(data)
    return case
