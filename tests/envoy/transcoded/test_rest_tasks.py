"""The suite of REST's task operations, through the transcoder to a server that speaks gRPC only."""

from tests.api.test_rest_tasks import *  # noqa: F403

# What differs, and how, is in test_differences.py.
del test_an_offset_past_the_end_is_an_empty_page  # noqa: F821
del test_explain  # noqa: F821
del test_bad_list_queries  # noqa: F821
del test_ids_that_are_none_are_not_found  # noqa: F821
del test_the_header_of_ignored_names_stays_short  # noqa: F821
del test_times_are_utc_with_three_digits  # noqa: F821
del test_unknown_properties_and_parameters_are_named  # noqa: F821
