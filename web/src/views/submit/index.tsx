/** The form of a new task: each field explained, checked by the server while one types. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isAbort, message } from "../../api/http";
import type { Task } from "../../api/model";
import { violations } from "../../api/violations";
import type { CreateTaskRequest, Experiment, SnapshotList } from "../../api/types";
import { plain, shortId } from "../../format";
import { href, navigate, route } from "../../router";
import { FormCheck } from "../../state/form_check";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import {
  build,
  EMPTY_FORM,
  FIELDS,
  fromTask,
  type FieldName,
  type TaskForm,
} from "../../state/task_form";
import { announce, Loading, Problem } from "../../ui/notes";
import { useResource, useTitle } from "../../ui/use";
import { Fields, type Choices } from "./fields";
import { Forecast, Free } from "./side";

const CHOICES = 200;

/** What the server makes of a request: the task as it would be, without an id. */
export type Accepted = Omit<Task, "id">;

export default function Submit() {
  useTitle("Submit");
  const from = route.value.query.get("from") ?? undefined;
  const experiment = route.value.query.get("experiment") ?? undefined;
  const [initial, problem] = useInitial(from, experiment);
  return (
    <div class="view submit">
      <header class="view-head">
        <h1>Submit a task</h1>
        {from !== undefined && initial && (
          <span class="muted">
            from <a href={href(["tasks", from])}>{shortId(from)}</a>
          </span>
        )}
      </header>
      <Problem text={problem} />
      {initial ? <Form key={from} initial={initial} isCopy={from !== undefined} /> : !problem && <Loading />}
    </div>
  );
}

/** The form to begin with: empty, or that of another task. */
function useInitial(
  from: string | undefined,
  experiment: string | undefined,
): [TaskForm | undefined, string | undefined] {
  const blank = { ...EMPTY_FORM, experiment_id: experiment ?? "" };
  const [found, setFound] = useState<TaskForm | undefined>(from === undefined ? blank : undefined);
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    if (from === undefined) return;
    const reading = new AbortController();
    store.http
      .get<Task>(`/v1/tasks/${encodeURIComponent(from)}`, {
        query: { view: "full" },
        signal: reading.signal,
      })
      .then((task) => setFound(fromTask(task)))
      .catch((error: unknown) => {
        if (!isAbort(error)) setProblem(message(error));
      });
    return () => reading.abort();
  }, [from]);
  return [found, problem];
}

function Form({ initial, isCopy }: { initial: TaskForm; isCopy: boolean }) {
  const [form, setForm] = useState(initial);
  const [touched, setTouched] = useState<ReadonlySet<FieldName>>(new Set());
  const [isSending, setSending] = useState(false);
  const element = useRef<HTMLFormElement>(null);
  const check = useMemo(
    () =>
      new FormCheck<CreateTaskRequest, Accepted>(
        (body, signal) =>
          store.http.call("POST", "/v1/tasks", {
            query: { validate_only: true, view: "full" },
            body,
            signal,
          }),
        (text) => violations(text, FIELDS),
      ),
    [],
  );
  const { request, faults } = useMemo(() => build(form), [form]);
  useEffect(() => {
    check.soon(request);
    return () => check.stop();
  }, [request]);
  // Sent twice, as by a second click while the reply is on its way, a request makes one task.
  const once = useMemo(newKey, [request]);

  const change = (changes: Partial<TaskForm>) => {
    setForm((old) => ({ ...old, ...changes }));
    setTouched((old) => new Set([...old, ...(Object.keys(changes) as FieldName[])]));
  };
  const errorOf = (name: FieldName): string | undefined => {
    const error = faults.get(name) ?? check.errors.value.get(name);
    return error !== undefined && (touched.has(name) || form[name] !== initial[name] || isCopy)
      ? error
      : undefined;
  };

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (isSending) return;
    setTouched(new Set(FIELDS));
    if (faults.size > 0) return focusFirst();
    check.stop();
    setSending(true);
    try {
      const task = await store.http.call<Task>("POST", "/v1/tasks", {
        query: { view: "full" },
        headers: { "Idempotency-Key": once },
        body: request,
      });
      announce(`Submitted ${plain(task.job_name)}`);
      navigate(href(["tasks", task.id]));
    } catch (error) {
      check.failed(error);
      setSending(false);
      focusFirst();
    }
  }

  /** Bring the first wrong field to the person, once it is marked. */
  function focusFirst(): void {
    setTimeout(() => element.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus());
  }

  return (
    <form ref={element} class="submit-form" noValidate onSubmit={(event) => void submit(event)}>
      <div class="submit-fields">
        <Fields form={form} change={change} errorOf={errorOf} choices={useChoices()} />
      </div>
      <aside class="submit-side" aria-label="What the server says">
        <Free />
        <Forecast check={check} request={request} faults={faults} />
        <Problem text={check.problem.value} />
        <button type="submit" class="button button-primary" disabled={isSending}>
          {isSending ? "Submitting…" : "Submit"}
        </button>
      </aside>
    </form>
  );
}

/** What the server has, to choose from. Without it a field is a plain text. */
function useChoices(): Choices {
  const resources = useMemo(
    () => ({
      snapshots: new Resource((signal) =>
        store.http.get<SnapshotList>("/v1/snapshots", { query: { limit: CHOICES }, signal }),
      ),
      experiments: new Resource((signal) =>
        store.http.get<Experiment[]>("/v1/experiments", { query: { limit: CHOICES }, signal }),
      ),
    }),
    [],
  );
  const snapshots = useResource(resources.snapshots).data.value?.snapshots ?? [];
  const experiments = useResource(resources.experiments).data.value ?? [];
  return { snapshots, experiments: experiments.filter((one) => one.status === "active") };
}

/** A key that nobody else has. `randomUUID` needs TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
