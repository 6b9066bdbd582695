from tests.api.test_snapshots import *  # noqa: F403
