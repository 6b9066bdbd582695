/** The form of a new API key, whose secret is shown once and never again. */

import { useState } from "preact/hooks";
import type { CreateKeyRequest, CreateKeyResponse } from "../../api/types";
import { plain } from "../../format";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { CopyButton } from "../../ui/copy";
import { Field, Options } from "../../ui/field";
import { TextField, useForm } from "../../ui/form";
import { Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";

const ROLES = {
  viewer: "viewer: reads",
  user: "user: submits and manages own tasks",
  admin: "admin: everything",
} as const;
type Role = keyof typeof ROLES;
const DAY = 86_400_000;

export function NewKey({ onCreated }: { onCreated: () => void }) {
  const form = useForm("key", { name: "", role: "user", expires_at: "" });
  const [created, setCreated] = useState<CreateKeyResponse>();
  const days = form.values.expires_at.trim();

  async function create(): Promise<void> {
    const { name, role } = form.values;
    const body: CreateKeyRequest = { name: name.trim(), role: role as Role };
    if (days !== "") body.expires_at = new Date(Date.now() + Number(days) * DAY).toISOString();
    setCreated(await store.http.call<CreateKeyResponse>("POST", "/v1/keys", { body }));
    onCreated();
  }

  function check(event: Event): void {
    event.preventDefault();
    if (/^\d{0,5}$/.test(days)) void form.submit(event, create);
    else form.reject("expires_at", "must be a number of days");
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
          <SmallButton onClick={() => setCreated(undefined)}>
            I have copied it
          </SmallButton>
        </div>
      )}
      <form noValidate onSubmit={check}>
        <Panel title="New key">
          <div class="field-grid">
            <TextField
              form={form}
              name="name"
              label="Name"
              help="Of its holder. Tasks show it as their user; several keys may have the same."
              isRequired
            />
            <Field
              form="key"
              name="role"
              label="Role"
              error={form.errors.get("role")}
              control={(attributes) => (
                <select
                  {...attributes}
                  value={form.values.role}
                  onChange={(event) => form.change("role", event.currentTarget.value)}
                >
                  <Options of={Object.entries(ROLES)} />
                </select>
              )}
            />
            <TextField
              form={form}
              name="expires_at"
              label="Expires after, days"
              help="Empty: never."
              inputMode="numeric"
            />
          </div>
          <Problem text={form.problem} />
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
