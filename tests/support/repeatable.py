"""Property tests have no deadline; in CI their inputs depend on the test alone (decision 93)."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants


def repeat_inputs() -> None:
    """Let Hypothesis draw the same inputs in each run in CI, whatever else of the project changes.

    There it derives the seed from the source of the test by itself. But it also draws numbers and
    texts that occur in the modules of the project that are loaded by then: a changed constant
    anywhere, or another order of tests, would give each test other inputs.
    """
    if "CI" in os.environ:
        none = Constants()
        providers._get_local_constants = lambda: none


def choose_examples(*, quick: bool) -> None:
    """Load the profile of property tests: 25 examples each in `make test`, 60 else. A busy machine
    pauses at any example, so there is no deadline."""
    base = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("full", parent=base, max_examples=60)
    settings.register_profile("quick", parent=base, max_examples=25)
    settings.load_profile("quick" if quick else "full")
