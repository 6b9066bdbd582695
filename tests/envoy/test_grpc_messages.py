from tests.api.test_grpc_messages import *  # noqa: F403
