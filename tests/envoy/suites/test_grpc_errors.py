from tests.api.test_grpc_errors import *  # noqa: F403

del test_without_it_the_trace_is_what_a_proxy_gave_the_call  # noqa: F821 - Envoy is the proxy.
del test_two_servers_never_share_a_port  # noqa: F821 - It asks the server for the port that is Envoy's.
