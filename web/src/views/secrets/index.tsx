/** The user's secrets: their names, never their values. */

import { useMemo, useState } from "preact/hooks";
import { ApiError, message } from "../../api/http";
import type { SecretList } from "../../api/types";
import { violations } from "../../api/violations";
import { plain, plural } from "../../format";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import { confirmed } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { announce, Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { Ago } from "../../ui/time";
import { useResource, useTitle } from "../../ui/use";

const FIELDS = ["name", "value"] as const;
const BLANK = { name: "", value: "" };

export default function Secrets() {
  useTitle("Secrets");
  const list = useMemo(
    () => new Resource((signal) => store.http.get<SecretList>("/v1/secrets", { signal })),
    [],
  );
  const secrets = useResource(list).data.value?.secrets;

  async function remove(name: string): Promise<void> {
    const yes = await confirmed({
      title: `Remove ${plain(name)}?`,
      text: "Tasks that name it and have not started fail. Running tasks keep its value.",
      action: "Remove",
      danger: true,
    });
    if (!yes) return;
    try {
      await store.http.call("DELETE", `/v1/secrets/${encodeURIComponent(name)}`);
      announce(`Removed ${plain(name)}`);
      await list.refresh();
    } catch (error) {
      announce(message(error), "problem");
    }
  }

  return (
    <div class="view secrets">
      <header class="view-head">
        <h1>Secrets</h1>
      </header>
      <SetSecret onSet={() => void list.refresh()} />
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!secrets ? (
        !list.error.value && <Loading />
      ) : (
        <Panel title="Your secrets" aside={plural(secrets.length, "secret")}>
          {secrets.length === 0 ? (
            <Empty>You have no secrets. A task that names one gets its value as a variable or a file.</Empty>
          ) : (
            <div class="table-box" tabIndex={0} role="region" aria-label="Secrets">
              <table class="table">
                <thead>
                  <tr>
                    <th scope="col">Name</th>
                    <th scope="col">Created</th>
                    <th scope="col">Last set</th>
                    <th scope="col">
                      <span class="off-screen">Action</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {secrets.map((secret) => (
                    <tr key={secret.name}>
                      <th scope="row">
                        <code>{plain(secret.name)}</code>
                      </th>
                      <td>
                        <Ago at={secret.created_at} />
                      </td>
                      <td>
                        <Ago at={secret.updated_at} />
                      </td>
                      <td class="number">
                        <button
                          type="button"
                          class="button button-small"
                          aria-label={`Remove ${plain(secret.name)}`}
                          onClick={() => void remove(secret.name)}
                        >
                          Remove
                        </button>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </Panel>
      )}
    </div>
  );
}

function SetSecret({ onSet }: { onSet: () => void }) {
  const [values, setValues] = useState(BLANK);
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState<string>();

  async function set(event: Event): Promise<void> {
    event.preventDefault();
    const name = values.name.trim();
    if (name === "") return setErrors(new Map([["name", "must not be empty"]]));
    try {
      const body = { value: values.value };
      await store.http.call("PUT", `/v1/secrets/${encodeURIComponent(name)}`, { body });
      announce(`${plain(name)} is set`);
      setValues(BLANK);
      setErrors(new Map());
      setProblem(undefined);
      onSet();
    } catch (error) {
      const found =
        error instanceof ApiError ? violations(error.message, FIELDS) : new Map<string, string>();
      setErrors(found);
      setProblem(found.size > 0 ? undefined : message(error));
    }
  }

  return (
    <form noValidate onSubmit={(event) => void set(event)}>
      <Panel title="Set a secret">
        <div class="field-grid">
          <Field
            form="secret"
            name="name"
            label="Name"
            help="Such as HF_TOKEN. A secret of that name gets the new value."
            error={errors.get("name")}
            control={(attributes) => (
              <input
                {...attributes}
                type="text"
                class="code"
                autocomplete="off"
                spellcheck={false}
                value={values.name}
                onInput={(event) => setValues({ ...values, name: event.currentTarget.value })}
              />
            )}
          />
          <Field
            form="secret"
            name="value"
            label="Value"
            help="Kept encrypted. It cannot be read back."
            error={errors.get("value")}
            control={(attributes) => (
              <input
                {...attributes}
                type="password"
                autocomplete="off"
                value={values.value}
                onInput={(event) => setValues({ ...values, value: event.currentTarget.value })}
              />
            )}
          />
        </div>
        <Problem text={problem} />
        <div class="form-buttons">
          <button type="submit" class="button button-primary">
            Set
          </button>
        </div>
      </Panel>
    </form>
  );
}
