"""Information for callers before they submit: defaults, limits, quotas, names."""

from collections.abc import Awaitable, Callable, Sequence

import fetchml
from fetchml.core.model import Principal
from fetchml.core.requests.submission import SubmissionRules
from fetchml.core.state import State
from fetchml.views import Quotas, ServerInfo


class ServerInformation:
    def __init__(
        self,
        state: State,
        rules: SubmissionRules,
        *,
        launcher: str,
        dataset_names: Callable[[], Awaitable[Sequence[str]]],
        jupyter_images: Sequence[str],
        user_storage_bytes: int,
        private: bool,
        environments: bool,
    ) -> None:
        self._state = state
        self._rules = rules
        self._launcher = launcher
        self._dataset_names = dataset_names
        self._jupyter_images = jupyter_images
        self._user_storage_bytes = user_storage_bytes
        self._private = private
        self._environments = environments

    async def get(self, who: Principal) -> ServerInfo:
        defaults, limits, capacity = self._rules.defaults, self._state.limits, self._state.capacity
        return ServerInfo(
            version=fetchml.__version__,
            launcher=self._launcher,
            image=defaults.image,
            command=defaults.command,
            allow_images=self._rules.allow_images,
            cpu=capacity.cpu,
            memory_gb=capacity.memory_gb,
            gpu=capacity.gpu,
            max_running=limits.max_running,
            preemption=limits.preemption,
            task_limits=defaults.limits,
            max_retries=defaults.max_retries,
            quotas=Quotas(
                gpus=limits.user_gpus,
                running=limits.user_running,
                queued=limits.user_queued,
                queued_bytes=limits.user_queued_bytes,
                storage_bytes=self._user_storage_bytes,
            ),
            datasets=await self._dataset_names(),
            jupyter_images=self._jupyter_images,
            volumes=[n for n, each in self._rules.volumes.items() if each.is_for(who.user)],
            private=self._private,
            user=who.user,
            role=who.role,
            environments=self._environments,
        )
