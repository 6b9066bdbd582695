"""Makes Jupyter services, on this host or on the nodes of a cluster."""

from functools import partial

from fetchml.adapters.jupyter.client import HttpJupyterClient, NodeLinks
from fetchml.attempts.hosts import TaskHost, ThisHost
from fetchml.auth.audit import Audit
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.files.attempt_folder import FolderCall
from fetchml.files.shared_disk import SharedDisk
from fetchml.files.storage_usage import StorageUsage
from fetchml.jupyter.jupyter_service import JupyterServices
from fetchml.jupyter.records import load_key
from fetchml.jupyter.workspaces import Workspaces
from fetchml.server.options import Options, Outside


def _client_and_calls(host: TaskHost) -> tuple[HttpJupyterClient, FolderCall]:
    """Return the client, and the caller of functions that look at workspaces."""
    if isinstance(host, ThisHost):
        return HttpJupyterClient(), host.in_thread
    disk = SharedDisk()
    return HttpJupyterClient(open_there=NodeLinks(host.cluster.address_of, disk).open), disk


def jupyter_services(
    outside: Outside, options: Options, tasks: ServiceTasks, usage: StorageUsage, audit: Audit
) -> JupyterServices:
    client, in_thread = _client_and_calls(outside.host)
    return JupyterServices(
        outside.store,
        tasks,
        Workspaces(
            outside.store,
            options.workspaces,
            outside.owners,
            usage,
            in_thread=in_thread,
            shared=options.jupyter.shared,
        ),
        client,
        outside.folder_watch,
        options.jupyter,
        audit=audit,
        token_key=partial(load_key, options.data_dir),
    )
