/** The form of a new API key, whose secret is shown once and never again. */

import { useState } from "preact/hooks";
import { ApiError, message } from "../../api/http";
import type { CreatedKey, CreateKeyRequest } from "../../api/types";
import { violations } from "../../api/violations";
import { plain } from "../../format";
import { store } from "../../state/store";
import { CopyButton } from "../../ui/copy";
import { Field } from "../../ui/field";
import { Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";

const FIELDS = ["name", "role", "expires_at"] as const;
const ROLES = {
  viewer: "viewer: reads",
  user: "user: also submits, and manages own tasks",
  admin: "admin: everything",
} as const;
type Role = keyof typeof ROLES;
const DAY = 86_400_000;

export function NewKey({ onCreated }: { onCreated: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("user");
  const [days, setDays] = useState("");
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState<string>();
  const [created, setCreated] = useState<CreatedKey>();

  async function create(event: Event): Promise<void> {
    event.preventDefault();
    const body: CreateKeyRequest = { name: name.trim(), role };
    if (days.trim() !== "") {
      if (!/^\d{1,5}$/.test(days.trim())) {
        setErrors(new Map([["expires_at", "must be a number of days"]]));
        return;
      }
      body.expires_at = new Date(Date.now() + Number(days) * DAY).toISOString();
    }
    try {
      setCreated(await store.http.call<CreatedKey>("POST", "/v1/keys", { body }));
      setErrors(new Map());
      setProblem(undefined);
      setName("");
      onCreated();
    } catch (error) {
      const found =
        error instanceof ApiError ? violations(error.message, FIELDS) : new Map<string, string>();
      setErrors(found);
      setProblem(found.size > 0 ? undefined : message(error));
    }
  }

  return (
    <>
      {created && (
        <div class="new-key" role="alert">
          <p>
            The key of <b>{plain(created.key.name)}</b>. Copy it now: it is not stored, and cannot be
            shown again.
          </p>
          <div class="command">
            <code>{created.secret}</code>
            <CopyButton text={created.secret} what="the key" />
          </div>
          <button type="button" class="button button-small" onClick={() => setCreated(undefined)}>
            I have copied it
          </button>
        </div>
      )}
      <form noValidate onSubmit={(event) => void create(event)}>
        <Panel title="New key">
          <div class="field-grid">
            <Field
              form="key"
              name="name"
              label="Name"
              help="Of its holder. Tasks show it as their user; several keys may have the same."
              isRequired
              error={errors.get("name")}
              control={(attributes) => (
                <input
                  {...attributes}
                  type="text"
                  autocomplete="off"
                  spellcheck={false}
                  value={name}
                  onInput={(event) => setName(event.currentTarget.value)}
                />
              )}
            />
            <Field
              form="key"
              name="role"
              label="Role"
              error={errors.get("role")}
              control={(attributes) => (
                <select
                  {...attributes}
                  value={role}
                  onChange={(event) => setRole(event.currentTarget.value as Role)}
                >
                  {Object.entries(ROLES).map(([value, text]) => (
                    <option key={value} value={value}>
                      {text}
                    </option>
                  ))}
                </select>
              )}
            />
            <Field
              form="key"
              name="expires_at"
              label="Expires after, days"
              help="Empty: never."
              error={errors.get("expires_at")}
              control={(attributes) => (
                <input
                  {...attributes}
                  type="text"
                  inputMode="numeric"
                  autocomplete="off"
                  value={days}
                  onInput={(event) => setDays(event.currentTarget.value)}
                />
              )}
            />
          </div>
          <Problem text={problem} />
          <div class="form-buttons">
            <button type="submit" class="button button-primary">
              Create
            </button>
          </div>
        </Panel>
      </form>
    </>
  );
}
