from tests.api.test_rest_server import *  # noqa: F403

del test_stop_lets_requests_finish_and_ends_streams  # noqa: F821 - Envoy goes on listening when the server has stopped.
