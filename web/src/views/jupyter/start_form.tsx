/** The form that starts a Jupyter service. */

import { useState } from "preact/hooks";
import { ApiError, message } from "../../api/http";
import type { StartJupyterRequest } from "../../api/types";
import { violations } from "../../api/violations";
import { plain } from "../../format";
import { server } from "../../state/server";
import { store } from "../../state/store";
import { Field } from "../../ui/field";
import { announce, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { useResource } from "../../ui/use";
import type { Service } from "./service";

const FIELDS = [
  ["name", "Name", "A label for people."],
  ["workspace", "Workspace", "The folder to work in. It stays when the service ends. Default: the name."],
  ["image", "Image", "A container image, or a name that the server has for one."],
  ["gpu", "GPUs", "They are yours until the service ends."],
  ["cpu", "CPU cores", "Limit of the cores that it uses. Empty: none."],
  ["memory_gb", "Memory, GiB", "Limit of its memory. Empty: none."],
] as const;
type Name = (typeof FIELDS)[number][0];
const NUMBERS: ReadonlySet<string> = new Set(["gpu", "cpu", "memory_gb"]);

interface Props {
  onClose: () => void;
  onStarted: (service: Service) => void;
}

export function StartForm({ onClose, onStarted }: Props) {
  const [values, setValues] = useState<Partial<Record<Name, string>>>({});
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState<string>();
  const [isSending, setSending] = useState(false);
  const images = useResource(server).data.value?.jupyter_images ?? [];

  async function start(event: Event): Promise<void> {
    event.preventDefault();
    setSending(true);
    try {
      const service = await store.http.call<Service>("POST", "/v1/jupyter/services", {
        query: { view: "full" },
        body: request(values),
      });
      announce(`${plain(service.name)} starts`);
      onStarted(service);
    } catch (error) {
      const found =
        error instanceof ApiError && error.code === "VALIDATION_ERROR"
          ? violations(
              error.message,
              FIELDS.map(([name]) => name),
            )
          : new Map<string, string>();
      setErrors(found);
      setProblem(found.size > 0 ? undefined : message(error));
      setSending(false);
    }
  }

  return (
    <form noValidate onSubmit={(event) => void start(event)}>
      <Panel title="New service">
        <div class="field-grid">
          {FIELDS.map(([name, label, help]) => (
            <Field
              key={name}
              form="service"
              name={name}
              label={label}
              help={help}
              isRequired={name === "name"}
              error={errors.get(name)}
              control={(attributes) => (
                <input
                  {...attributes}
                  type="text"
                  autocomplete="off"
                  spellcheck={false}
                  inputMode={NUMBERS.has(name) ? "numeric" : "text"}
                  value={values[name] ?? ""}
                  {...(name === "image" && images.length > 0 ? { list: "jupyter-images" } : {})}
                  onInput={(event) => setValues({ ...values, [name]: event.currentTarget.value })}
                />
              )}
            />
          ))}
          <datalist id="jupyter-images">
            {images.map((image) => (
              <option key={image} value={image} />
            ))}
          </datalist>
        </div>
        <Problem text={problem} />
        <div class="form-buttons">
          <button type="submit" class="button button-primary" disabled={isSending}>
            {isSending ? "Starting…" : "Start"}
          </button>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </Panel>
    </form>
  );
}

/** What is no number goes to the server, which explains it. */
function request(values: Partial<Record<Name, string>>): StartJupyterRequest {
  const made: Record<string, string | number> = { name: values.name ?? "" };
  for (const [name, value] of Object.entries(values)) {
    const text = value.trim();
    if (text !== "")
      made[name] = NUMBERS.has(name) && /^-?\d{1,15}$/.test(text) ? Number(text) : text;
  }
  return made as unknown as StartJupyterRequest;
}
