from tests.api.test_keys_that_end import *  # noqa: F403
