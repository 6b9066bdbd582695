from tests.api.test_rest_files import *  # noqa: F403
