"""How many inputs each target gets.

The same ones in each run, in `make test` and so in CI: what a change breaks decides, and not chance
(decision 93). With `FUZZ_SECONDS`, which `make fuzz` sets, new ones for a time that the targets
share.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FUZZ_SECONDS") or 0)
"""Of all targets together; 0 for the same inputs in each run."""
SAME = 150
"""Number of inputs that are the same in each run, for a target with a share of 1. All targets
together take less than a minute of one slow core."""
CASES = Path(__file__).parent / "cases"
LEAST = 30
"""Least number of inputs for a target, however slow it is."""
ROUND = 500
"""Number of inputs in one run of Hypothesis. Each run starts again, with a new seed."""
_SETTINGS = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


class _Over(BaseException):
    """The time is up. Hypothesis passes on what is not an Exception, such as Ctrl-C."""


class _Tried:
    """A parser under test: counts its inputs, and keeps the one that it failed for."""

    def __init__(self, name: str, parse: Callable[[bytes], None]) -> None:
        self.count = 0
        self.failing: bytes | None = None
        self._name = name
        self._parse = parse

    def __call__(self, data: bytes) -> None:
        self.count += 1
        try:
            self._parse(data)
        except Exception:
            self.failing = data
            raise

    def run(self, look: Callable[[], object]) -> None:
        """Let `look` try inputs. The smallest one that fails becomes a case of the target."""
        try:
            look()
        except Exception as error:
            if self.failing is not None:
                error.add_note(f"The input is kept as {keep(self._name, self.failing)}")
            raise


def fuzz(
    name: str, parse: Callable[[bytes], None], inputs: st.SearchStrategy[bytes], seconds: float
) -> int:
    """Call `parse` with random inputs for `seconds`, or until it raises: the smallest input that
    makes it raise then becomes a case of the target. Returns the number of inputs."""
    end = time.monotonic() + seconds
    tried = _Tried(name, parse)

    # Without `derandomize`, which Hypothesis sets in CI: each run would repeat the first.
    @settings(_SETTINGS, max_examples=ROUND, derandomize=False)
    @given(inputs)
    def run(data: bytes) -> None:
        if tried.failing is None and tried.count >= LEAST and time.monotonic() > end:
            raise _Over
        tried(data)

    def forever() -> None:
        while True:
            run()

    with suppress(_Over):
        tried.run(forever)
    return tried.count


def try_same(
    name: str, parse: Callable[[bytes], None], inputs: st.SearchStrategy[bytes], count: int
) -> int:
    """Like `fuzz`, with up to `count` inputs that depend on the target and its strategy alone."""
    tried = _Tried(name, parse)

    @seed(name)
    @settings(_SETTINGS, max_examples=count)
    @given(inputs)
    def run(data: bytes) -> None:
        tried(data)

    tried.run(run)
    return tried.count


def keep(name: str, data: bytes) -> Path:
    """Store an input as a case, which `test_earlier_findings_stay_fixed` tries from now on."""
    case = CASES / name / hashlib.sha256(data).hexdigest()[:16]
    with suppress(OSError):  # The finding itself is reported in any case.
        case.parent.mkdir(parents=True, exist_ok=True)
        case.write_bytes(data)
    return case
