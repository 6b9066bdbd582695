/** The user's secrets: their names, never their values. */

import type { ListSecretsResponse } from "../../api/types";
import { plain, plural } from "../../format";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { TextField, useForm } from "../../ui/form";
import { announce, Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { performIfConfirmed } from "../../ui/perform";
import { ACTION, Table } from "../../ui/table";
import { Ago } from "../../ui/time";
import { useRead, useTitle } from "../../ui/use";

export default function Secrets() {
  useTitle("Secrets");
  const list = useRead<ListSecretsResponse>("/v1/secrets");
  const secrets = list.data.value?.secrets;

  function remove(name: string): Promise<boolean> {
    const question = {
      title: `Remove ${plain(name)}?`,
      text: "Tasks that name it and have not started fail. Running tasks keep its value.",
      action: "Remove",
    };
    return performIfConfirmed(question, async () => {
      await store.http.call("DELETE", path(name));
      await list.refresh();
      return `Removed ${plain(name)}`;
    });
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
            <Table label="Secrets" columns={["Name", "Created", "Last set", ACTION]}>
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
                    <SmallButton
                      aria-label={`Remove ${plain(secret.name)}`}
                      onClick={() => void remove(secret.name)}
                    >
                      Remove
                    </SmallButton>
                  </td>
                </tr>
              ))}
            </Table>
          )}
        </Panel>
      )}
    </div>
  );
}

function SetSecret({ onSet }: { onSet: () => void }) {
  const form = useForm("secret", { name: "", value: "" });

  async function set(): Promise<void> {
    const name = form.values.name.trim();
    await store.http.call("PUT", path(name), { body: { value: form.values.value } });
    announce(`${plain(name)} is set`);
    onSet();
  }

  function check(event: Event): void {
    event.preventDefault();
    if (form.values.name.trim() === "") form.reject("name", "must not be empty");
    else void form.submit(event, set);
  }

  return (
    <form noValidate onSubmit={check}>
      <Panel title="Set a secret">
        <div class="field-grid">
          <TextField
            form={form}
            name="name"
            label="Name"
            help="Such as HF_TOKEN. A secret of that name gets the new value."
            class="code"
          />
          <TextField
            form={form}
            name="value"
            label="Value"
            help="Kept encrypted. It cannot be read back."
            type="password"
          />
        </div>
        <Problem text={form.problem} />
        <div class="form-buttons">
          <button type="submit" class="button button-primary">
            Set
          </button>
        </div>
      </Panel>
    </form>
  );
}

function path(name: string): string {
  return `/v1/secrets/${encodeURIComponent(name)}`;
}
