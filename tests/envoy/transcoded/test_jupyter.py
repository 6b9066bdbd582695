"""The suite of Jupyter's REST operations, through the transcoder."""

from tests.api.test_jupyter import *  # noqa: F403

# What differs, and how, is in test_differences.py.
del test_unknown_properties_are_named  # noqa: F821
# Nothing of these is the transcoder's.
del test_rest_and_grpc_say_the_same  # noqa: F821
del test_the_calls  # noqa: F821
