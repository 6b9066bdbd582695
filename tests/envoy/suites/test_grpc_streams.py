from tests.api.test_grpc_streams import *  # noqa: F403
