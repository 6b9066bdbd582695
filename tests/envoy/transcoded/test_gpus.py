"""The suite of REST's GPU operations, through the transcoder."""

from tests.api.test_gpus import *  # noqa: F403

# What differs, and how, is in test_differences.py.
del test_preemptible_is_true_or_false  # noqa: F821
del test_what_means_nothing_is_named  # noqa: F821
# Nothing of these is the transcoder's.
del test_a_request_over_grpc_is_the_rest_body  # noqa: F821
del test_both_transports_tell_the_same  # noqa: F821
del test_explanations_are_the_same  # noqa: F821
del test_metrics  # noqa: F821
del test_on_a_private_server_nothing_of_others_is_told  # noqa: F821
del test_over_grpc  # noqa: F821
del test_tasks_are_the_same  # noqa: F821
