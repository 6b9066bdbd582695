/** The form of a new task: each field explained, checked by the server while one types. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Task } from "../../api/model";
import { violations } from "../../api/violations";
import type { Experiment, SnapshotList, Sweep } from "../../api/types";
import { plain, plural, shortId } from "../../format";
import { href, navigate, route } from "../../router";
import { FormCheck } from "../../state/form_check";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import {
  buildSweep,
  EMPTY_SWEEP,
  isSweep,
  sweepViolations,
  type SweepFieldName,
} from "../../state/sweep_form";
import {
  build,
  EMPTY_FORM,
  FIELDS,
  fromTask,
  type FieldName,
  type TaskForm,
} from "../../state/task_form";
import { announce, Loading, Problem } from "../../ui/notes";
import { useReading, useResource, useTitle } from "../../ui/use";
import { Fields, type Choices } from "./fields";
import { Parameters } from "./parameters";
import { Forecast, Free, type Accepted, type Wanted } from "./side";

const CHOICES = 200;

async function validate(wanted: Wanted, signal: AbortSignal): Promise<Accepted> {
  const options = { query: { validate_only: true }, signal };
  if ("sweep" in wanted) {
    const body = wanted.sweep;
    return { sweep: await store.http.call<Sweep>("POST", "/v1/sweeps", { ...options, body }) };
  }
  const query = { ...options.query, view: "full" };
  const body = wanted.task;
  return { task: await store.http.call<Task>("POST", "/v1/tasks", { ...options, query, body }) };
}

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
  useReading(
    (signal) => {
      if (from === undefined) return undefined;
      const path = `/v1/tasks/${encodeURIComponent(from)}`;
      const task = store.http.get<Task>(path, { query: { view: "full" }, signal });
      return task.then((task) => setFound(fromTask(task)));
    },
    setProblem,
    [from],
  );
  return [found, problem];
}

function Form({ initial, isCopy }: { initial: TaskForm; isCopy: boolean }) {
  const [form, setForm] = useState(initial);
  const [touched, setTouched] = useState<ReadonlySet<FieldName>>(new Set());
  const [isSending, setSending] = useState(false);
  const element = useRef<HTMLFormElement>(null);
  const [sweep, setSweep] = useState(EMPTY_SWEEP);
  const { wanted, faults } = useMemo(() => {
    const task = build(form);
    if (!isSweep(sweep)) return { wanted: { task: task.request }, faults: task.faults };
    const many = buildSweep(sweep, task.request);
    return { wanted: { sweep: many.request }, faults: new Map([...task.faults, ...many.faults]) };
  }, [form, sweep]);
  const newest = useRef<Wanted>(wanted);
  newest.current = wanted;
  const check = useMemo(
    () =>
      new FormCheck<Wanted, Accepted>(validate, (text) =>
        "sweep" in newest.current
          ? sweepViolations(text, newest.current.sweep, FIELDS)
          : violations(text, FIELDS),
      ),
    [],
  );
  useEffect(() => {
    check.soon(wanted);
    return () => check.stop();
  }, [wanted]);
  // Sent twice, as by a second click while the reply is on its way, a request makes one task.
  const once = useMemo(newKey, [wanted]);

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

  const sweepErrorOf = (name: SweepFieldName) => faults.get(name) ?? check.errors.value.get(name);

  /** Returns what to announce, and the address of what was made. */
  async function send(): Promise<[string, string]> {
    const headers = { "Idempotency-Key": once };
    if ("sweep" in wanted) {
      const body = wanted.sweep;
      const made = await store.http.call<Sweep>("POST", "/v1/sweeps", { headers, body });
      const { id = "", name = "", total = 0 } = made;
      return [`Submitted ${plural(total, "task")} of ${plain(name)}`, href(["sweeps", id])];
    }
    const options = { query: { view: "full" }, headers, body: wanted.task };
    const task = await store.http.call<Task>("POST", "/v1/tasks", options);
    return [`Submitted ${plain(task.job_name)}`, href(["tasks", task.id])];
  }

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (isSending) return;
    setTouched(new Set(FIELDS));
    if (faults.size > 0) return focusFirst();
    check.stop();
    setSending(true);
    try {
      const [text, address] = await send();
      announce(text);
      navigate(address);
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
        <Parameters
          form={sweep}
          change={(changes) => setSweep((old) => ({ ...old, ...changes }))}
          errorOf={sweepErrorOf}
        />
      </div>
      <aside class="submit-side" aria-label="Check by the server">
        <Free />
        {/* Above what changes while the server checks: it must not move away under a pointer. */}
        <button type="submit" class="button button-primary" disabled={isSending}>
          {isSending ? "Submitting…" : "Submit"}
        </button>
        <Forecast check={check} wanted={wanted} sweep={sweep} faults={faults} />
        <Problem text={check.problem.value} />
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
