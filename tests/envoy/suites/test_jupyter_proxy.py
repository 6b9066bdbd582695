from tests.jupyter.test_proxy import *  # noqa: F403

del test_a_whole_address_leads_nowhere_else  # noqa: F821 - Envoy sends its path on as a path
