/** The fields that make a sweep of the form: parameters, and how they are combined. */

import type { SweepFieldName, SweepForm } from "../../state/sweep_form";
import { isSweep } from "../../state/sweep_form";
import { Field } from "../../ui/field";
import { Panel } from "../../ui/panel";

interface Props {
  form: SweepForm;
  change: (changes: Partial<SweepForm>) => void;
  errorOf: (name: SweepFieldName) => string | undefined;
}

interface Text {
  name: Exclude<SweepFieldName, "mode">;
  label: string;
  help: string;
  placeholder?: string;
  lines?: number;
}

export function Parameters({ form, change, errorOf }: Props) {
  const text = ({ name, label, help, placeholder = "", lines }: Text) => (
    <Field
      form="sweep"
      name={name}
      label={label}
      help={help}
      error={errorOf(name)}
      class={lines ? "field-wide" : ""}
      control={(attributes) => {
        const shared = {
          ...attributes,
          value: form[name],
          placeholder,
          spellcheck: false,
          autocomplete: "off",
          onInput: (event: { currentTarget: { value: string } }) =>
            change({ [name]: event.currentTarget.value }),
        };
        return lines ? (
          <textarea {...shared} class="code" rows={lines} />
        ) : (
          <input {...shared} type="text" />
        );
      }}
    />
  );
  return (
    <Panel title="Parameters" aside="for a sweep">
      <div class="field-grid">
        {text({
          name: "parameters",
          label: "Values of parameters",
          help: "One a line, for many tasks at once: lr=0.1,0.2, seed=1..5, x=uniform(0,1). {lr} in the command, the arguments and variables stands for the value. Empty: one task.",
          placeholder: "lr=0.1,0.2",
          lines: 3,
        })}
        {text({
          name: "table",
          label: "Table of parameters",
          help: "Or CSV: names in the first line, then a line for each task.",
          lines: 3,
        })}
        {isSweep(form) && (
          <>
            <Field
              form="sweep"
              name="mode"
              label="Combination"
              help="A table is one task a line."
              error={errorOf("mode")}
              control={(attributes) => (
                <select
                  {...attributes}
                  value={form.mode}
                  onChange={(event) =>
                    change({ mode: event.currentTarget.value as SweepForm["mode"] })
                  }
                >
                  <option value="">{form.table.trim() ? "One task a line" : "Every combination"}</option>
                  <option value="grid">Every combination (grid)</option>
                  <option value="zip">Values with the same position (zip)</option>
                  <option value="random">Random draws (random)</option>
                </select>
              )}
            />
            {form.mode === "random" && (
              <>
                {text({ name: "samples", label: "Draws", help: "Number of tasks." })}
                {text({
                  name: "random_seed",
                  label: "Random seed",
                  help: "The same seed draws the same values. Empty: the server chooses.",
                })}
              </>
            )}
            {text({
              name: "max_parallel",
              label: "Parallel tasks",
              help: "Limit of the tasks of the sweep that hold resources at the same time. Empty: no limit.",
            })}
            {text({ name: "sweep_name", label: "Name of the sweep", help: "Empty: that of the task." })}
          </>
        )}
      </div>
    </Panel>
  );
}
