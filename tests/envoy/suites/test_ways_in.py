from tests.server.test_ways_in import *  # noqa: F403
