from tests.server.test_ways_in import *  # noqa: F403

del test_a_hidden_snapshot_cannot_be_run  # noqa: F821 - nothing of it is a transport's
del test_no_way_in_is_forgotten  # noqa: F821 - it asks nobody
