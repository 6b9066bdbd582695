from tests.api.test_jupyter import *  # noqa: F403
