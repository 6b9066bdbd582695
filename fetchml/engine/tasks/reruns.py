"""Reruns: a task's request submitted again with changes, or pinned to what the task ran with."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fetchml.auth.audit import Audit
from fetchml.core.audit import Action
from fetchml.core.model import Principal, Rerun, Task
from fetchml.core.requests import checks, rerun
from fetchml.core.requests.project_file import NO_PROJECT
from fetchml.core.requests.rerun import RerunRequest
from fetchml.core.sweeps.tasks import Template
from fetchml.engine.submissions import Submissions
from fetchml.engine.sweep_records import TEMPLATES
from fetchml.engine.tasks.tasks import Tasks
from fetchml.environments.package_lists import PackageLists
from fetchml.errors import Conflict, FieldViolation, ValidationFailed
from fetchml.ports.store import Store
from fetchml.snapshots.snapshot_service import Snapshots

_decode_template = msgspec.json.Decoder(dict[str, object]).decode


class Reruns:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        tasks: Tasks,
        submissions: Submissions,
        snapshots: Snapshots,
        package_lists: PackageLists,
        store: Store,
        audit: Audit,
    ) -> None:
        self._tasks = tasks
        self._submissions = submissions
        self._snapshots = snapshots
        self._package_lists = package_lists
        self._store = store
        self._audit = audit

    async def rerun(self, who: Principal, task_id: str, body: Mapping[str, object]) -> Task:
        """Submit a task again, as a task of the same user; durable on return."""
        task = await self._tasks.to_change(who, task_id)
        wanted, violations = checks.read(body, RerunRequest)
        if wanted is None or violations:
            raise ValidationFailed([FieldViolation(*each) for each in violations])
        owner = rerun.submitter(who, task)
        request = rerun.request_of(task)
        again = rerun.again(task, wanted)
        if wanted.parameters:
            request |= await self._filled(owner, task, request, again)
        if wanted.args is not None:
            request["args"] = wanted.args
        if wanted.pinned:
            request |= await self._pinned(task)
        new = await self._submissions.create_rerun(owner, request, again)
        await self._audit.done(who, Action.TASK_RETRY, new.id, f"of {task.id}")
        return new

    async def _filled(
        self, owner: Principal, task: Task, request: Mapping[str, object], again: Rerun
    ) -> dict[str, object]:
        """Return the fields of the request that depend on parameters."""
        if again.sweep_id is None:
            template = Template(request)
            names = template.names
        else:
            template = await self._template(owner, task, again)
            names = frozenset(task.spec.parameters)
        if unknown := sorted(again.parameters.keys() - names):
            known = f"its parameters are {', '.join(sorted(names))}" if names else "it has none"
            rule = f"has {unknown[0][:64]!r}, which is no parameter of the task: {known}"
            raise ValidationFailed([FieldViolation("parameters", rule)])
        filled = template.filled(again.parameters)
        if isinstance(env := filled.get("env"), dict):
            filled["env"] = {**(task.spec.env or {}), **env}
        return filled

    async def _template(self, owner: Principal, task: Task, again: Rerun) -> Template:
        data = await self._store.get_document(TEMPLATES, again.sweep_id or "")
        if data is None:
            raise Conflict(
                "The request of its sweep is not kept any more: submit the task with other values"
            )
        fields = _decode_template(data)
        if again.own_args:
            fields.pop("args", None)
        project, snapshot_id = NO_PROJECT, task.spec.snapshot_id
        if snapshot_id is not None and (found := self._snapshots.to_run(owner.user, snapshot_id)):
            project = await self._snapshots.project(owner.user, found)
        return Template(fields, NO_PROJECT if project.faults else project)

    async def _pinned(self, task: Task) -> dict[str, Any]:
        ran_with = task.ran_with
        if ran_with is None:
            raise Conflict("Nothing is recorded of what it ran with: it has not started")
        return rerun.pinned(task, await self._package_lists.get(ran_with.environment))
