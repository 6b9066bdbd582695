/** The fields of a new task, with what each means. */

import type { Experiment, Snapshot } from "../../api/types";
import { bytes, plain, shortId } from "../../format";
import { server } from "../../state/server";
import type { FieldName, TaskForm } from "../../state/task_form";
import { SmallButton } from "../../ui/button";
import { Check, Field, Options } from "../../ui/field";
import { Panel } from "../../ui/panel";
import { useResource } from "../../ui/use";

export interface Choices {
  snapshots: readonly Snapshot[];
  experiments: readonly Experiment[];
}

interface Props {
  form: TaskForm;
  change: (changes: Partial<TaskForm>) => void;
  errorOf: (name: FieldName) => string | undefined;
  choices: Choices;
}

type TextName = {
  [Name in FieldName]: TaskForm[Name] extends string ? Name : never;
}[FieldName];

type FlagName = {
  [Name in FieldName]: TaskForm[Name] extends boolean ? Name : never;
}[FieldName];

const ENVIRONMENTS = [
  ["requirements", "A requirements file"],
  ["project", "pyproject.toml with uv.lock"],
  ["script", "A script with inline metadata"],
] as const;

interface Text {
  name: TextName;
  label: string;
  help: string;
  isRequired?: boolean;
  placeholder?: string | undefined;
  /** Number of lines, of a field that has several. */
  lines?: number;
  isCode?: boolean;
  inputMode?: "numeric";
  list?: string;
}

export function Fields({ form, change, errorOf, choices }: Props) {
  const info = useResource(server).data.value;
  const text = (given: Text) => (
    <Field
      form="task"
      name={given.name}
      label={given.label}
      help={given.help}
      error={errorOf(given.name)}
      isRequired={given.isRequired ?? false}
      class={given.lines || given.isCode ? "field-wide" : ""}
      control={(attributes) => {
        const shared = {
          ...attributes,
          value: form[given.name],
          placeholder: given.placeholder ?? "",
          class: given.isCode ? "code" : "",
          spellcheck: false,
          autocomplete: "off",
          onInput: (event: { currentTarget: { value: string } }) =>
            change({ [given.name]: event.currentTarget.value }),
        };
        return given.lines ? (
          <textarea {...shared} rows={given.lines} />
        ) : (
          <input {...shared} type="text" inputMode={given.inputMode ?? "text"} list={given.list ?? ""} />
        );
      }}
    />
  );
  const flag = (name: FlagName, label: string, help: string) => (
    <Check class="field-wide" isOn={form[name]} onChange={(isOn) => change({ [name]: isOn })}>
      <span>
        {label}
        <span class="help"> {help}</span>
        {errorOf(name) && <span class="field-error"> {errorOf(name)}</span>}
      </span>
    </Check>
  );
  const number = (name: TextName, label: string, help: string, placeholder?: string) =>
    text({ name, label, help, placeholder, inputMode: "numeric" });
  return (
    <>
      <Panel title="What runs">
        <div class="field-grid">
          {text({
            name: "job_name",
            label: "Name",
            help: "A label for people. Several tasks may have the same. Letters, digits, _ and -.",
            isRequired: true,
          })}
          {text({
            name: "image",
            label: "Image",
            help: "Container image with the programs that the task needs.",
            placeholder: info?.image,
          })}
          {text({
            name: "command",
            label: "Command",
            help: "Program and first arguments, with a shell's quotes. No shell runs it: for pipes and variables use sh -c '…'.",
            placeholder: info?.command?.join(" ") ?? "python train.py",
            isCode: true,
          })}
          {text({
            name: "args",
            label: "Arguments",
            help: "Further arguments, added to the command. Runs of one experiment are compared by them.",
            placeholder: "--lr 0.1 --epochs 3",
            isCode: true,
          })}
        </div>
      </Panel>
      <Panel title="What it needs">
        <div class="field-grid field-grid-narrow">
          {number("gpu", "GPUs", "The task has exactly these, and no other task does.", "0")}
          {number("cpu", "CPU cores", "Limit of the cores that it uses.", "no limit")}
          {number("memory_gb", "Memory, GiB", "Limit. A task that exceeds it is ended.", "no limit")}
          {text({
            name: "timeout_seconds",
            label: "Time limit",
            help: "90s, 30m, 12h or 2d. The task is ended then. 0: none.",
            placeholder: "12h",
          })}
        </div>
      </Panel>
      <Panel title="Code and data">
        <div class="field-grid">
          <Select
            name="snapshot_id"
            label="Code"
            value={form.snapshot_id}
            none="No code: the image has everything"
            options={choices.snapshots.map((one) => [one.id, withId(snapshotName(one), one.id)])}
            error={errorOf("snapshot_id")}
            help="A folder uploaded with fetchml snapshot create. The task finds a private copy at /workspace."
            change={change}
          />
          {text({
            name: "datasets",
            label: "Datasets",
            help: "Names, separated by commas. Each is at /data/NAME, read-only.",
            placeholder: info?.datasets?.slice(0, 3).join(", "),
          })}
          {(info?.volumes?.length || form.volumes !== "") &&
            text({
              name: "volumes",
              label: "Volumes",
              help: "Folders of the server, separated by commas. Each is at /volumes/NAME.",
              placeholder: info?.volumes?.slice(0, 3).join(", "),
            })}
          {text({
            name: "secrets",
            label: "Secrets",
            help: "Names of yours, separated by commas: NAME is a variable, NAME:file the file /secrets/NAME.",
          })}
          {(form.snapshot_id !== "" || form.without !== "") &&
            text({
              name: "without",
              label: "Leave out",
              help: "Entries of the code's fetchml.toml that the task does not get: secrets, volumes, notify. To grant them, name them in their fields.",
            })}
          {(info?.environments || form.environment_kind !== "") && (
            <Select
              name="environment_kind"
              label="Packages"
              value={form.environment_kind}
              none="What fetchml.toml names, or none"
              options={ENVIRONMENTS}
              error={undefined}
              help="uv installs them once, before the first task that asks for them."
              change={change}
            />
          )}
          {form.environment_kind !== "" &&
            text({
              name: "environment",
              label: "Path of the packages' file",
              help: "In the code: requirements.txt, the folder of uv.lock (. is the root), or the script.",
              placeholder: form.environment_kind === "project" ? "." : "requirements.txt",
            })}
          {text({
            name: "env",
            label: "Environment variables",
            help: "NAME=value, one a line. Values cannot be read back.",
            lines: 3,
            isCode: true,
          })}
        </div>
        {form.dataset_specs.length > 0 && (
          <p class="panel-body">
            And {form.dataset_specs.map((spec) => plain(spec.name ?? spec.source ?? "")).join(", ")}{" "}
            as in the copied task.{" "}
            <SmallButton onClick={() => change({ dataset_specs: [] })}>
              Remove
            </SmallButton>
          </p>
        )}
      </Panel>
      <Panel title="Start">
        <div class="field-grid">
          {text({
            name: "after",
            label: "After",
            help: "Ids of tasks that have to complete first. ID:ended: however it ends. ID:failed: if it fails. sweep:ID: all tasks of a sweep.",
            isCode: true,
          })}
          {text({
            name: "inputs_from",
            label: "Inputs from",
            help: "Ids of tasks whose outputs this one reads at /inputs/NAME, once they have completed.",
            isCode: true,
          })}
          <Field
            form="task"
            name="start_after"
            label="Not before"
            help="In your time zone."
            error={errorOf("start_after")}
            control={(attributes) => (
              <input
                {...attributes}
                type="datetime-local"
                value={form.start_after}
                onInput={(event) => change({ start_after: event.currentTarget.value })}
              />
            )}
          />
          {flag("hold", "Hold", "It waits until you release it.")}
        </div>
      </Panel>
      <Panel title="Checkpoints">
        <div class="field-grid">
          {flag(
            "checkpoint",
            "Checkpoint folder",
            "/checkpoint stays from attempt to attempt: after a retry, a preemption or a lost host.",
          )}
          {text({
            name: "checkpoint_from",
            label: "Begin with the checkpoint of",
            help: "Id of a task. This one gets a copy.",
            isCode: true,
          })}
          {text({
            name: "warn_seconds",
            label: "Warning",
            help: "The command gets SIGUSR1 this long before SIGTERM, to write a last checkpoint.",
            placeholder: "30s",
          })}
        </div>
      </Panel>
      <Panel title="Order and labels">
        <div class="field-grid">
          {number("priority", "Priority", "1 to 10. The most urgent, 10, starts first.", "5")}
          {number("max_retries", "Retries", "How often it starts again after a failure.", "0")}
          <Select
            name="experiment_id"
            label="Experiment"
            value={form.experiment_id}
            none="None"
            options={choices.experiments.map(({ id = "", name = "" }) => [id, withId(plain(name), id)])}
            error={errorOf("experiment_id")}
            help="Groups runs, so that their parameters and results can be compared."
            change={change}
          />
          {text({
            name: "metadata",
            label: "Labels",
            help: "key=value, one a line. Lists can be filtered by them.",
            lines: 2,
            isCode: true,
          })}
          {text({
            name: "notify",
            label: "Notify",
            help: "URLs that get a webhook when it ends, one a line. Events before a URL choose others: failed,idle,https://…",
            lines: 2,
            isCode: true,
          })}
          {flag("preemptible", "Preemptible", "A more urgent task may stop this one, which starts again later.")}
          {flag("may_idle", "May idle", "Its GPUs may stay unused, for example while it waits for requests: the server does not stop it for that.")}
          {(info?.launcher === "slurm" || form.slurm !== "") &&
            text({
              name: "slurm",
              label: "Slurm",
              help: "Parameters of the job, as partition=gpu, one a line. The server allows some.",
              lines: 2,
              isCode: true,
            })}
        </div>
      </Panel>
    </>
  );
}

interface SelectProps {
  name: "snapshot_id" | "experiment_id" | "environment_kind";
  label: string;
  value: string;
  none: string;
  help: string;
  options: readonly (readonly [id: string, name: string])[];
  error: string | undefined;
  change: (changes: Partial<TaskForm>) => void;
}

function Select({ name, label, value, none, help, options, error, change }: SelectProps) {
  // One that is not in the list, as of a copied task, stays.
  const isListed = value === "" || options.some(([id]) => id === value);
  return (
    <Field
      form="task"
      name={name}
      label={label}
      help={help}
      error={error}
      control={(attributes) => (
        <select
          {...attributes}
          value={value}
          onChange={(event) => change({ [name]: event.currentTarget.value })}
        >
          <option value="">{none}</option>
          {!isListed && <option value={value}>{plain(value)}</option>}
          <Options of={options} />
        </select>
      )}
    />
  );
}

function withId(name: string, id: string): string {
  return `${name} · ${shortId(id)}`;
}

function snapshotName(snapshot: Snapshot): string {
  const commit = snapshot.git_commit?.slice(0, 8);
  const parts = [
    snapshot.created_at.slice(0, 16).replace("T", " "),
    bytes(snapshot.size_bytes),
    commit && `commit ${commit}${snapshot.git_dirty ? ", changed" : ""}`,
  ];
  return plain(parts.filter(Boolean).join(" · "));
}
