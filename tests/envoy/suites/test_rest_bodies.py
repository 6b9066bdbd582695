from tests.api.test_rest_bodies import *  # noqa: F403
