/** Webhooks of the user: the default addresses, and messages that are not delivered. */

import { useEffect, useState } from "preact/hooks";
import { message } from "../../api/http";
import type { ListNotificationsResponse, Notification, NotificationSettings } from "../../api/types";
import { plain, plural } from "../../format";
import { href } from "../../router";
import { targets, targetsText } from "../../state/notify";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Field } from "../../ui/field";
import { announce, Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { perform } from "../../ui/perform";
import { number, Table } from "../../ui/table";
import { Ago } from "../../ui/time";
import { useRead, useTitle } from "../../ui/use";

const EVERY_MS = 15_000;
const MOST = 100;
const SETTINGS = "/v1/notifications/settings";

export default function Notifications() {
  useTitle("Notifications");
  const list = useRead<ListNotificationsResponse>("/v1/notifications", { limit: MOST }, EVERY_MS);
  const page = list.data.value;
  const shown = page?.notifications ?? [];
  return (
    <div class="view notifications">
      <header class="view-head">
        <h1>Notifications</h1>
      </header>
      <Defaults />
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!page ? (
        !list.error.value && <Loading />
      ) : (
        <Panel title="Not delivered" aside={plural(page.total ?? 0, "message")}>
          {shown.length === 0 ? (
            <Empty>No message of yours waits, and none was given up.</Empty>
          ) : (
            <Table label="Not delivered" columns={["Message", "To", number("Attempts"), "Last error", "Next attempt"]}>
              {shown.map((one) => (
                <Row key={one.id} of={one} onSent={() => void list.refresh()} />
              ))}
            </Table>
          )}
        </Panel>
      )}
    </div>
  );
}

function Row({ of: one, onSent }: { of: Notification; onSent: () => void }) {
  function again(): Promise<boolean> {
    return perform(async () => {
      await store.http.call("POST", `/v1/notifications/${encodeURIComponent(one.id ?? "")}/retry`);
      onSent();
      return "It is sent again";
    });
  }
  const type = plain(one.type ?? "");
  return (
    <tr>
      <th scope="row">
        {one.task_id ? <a href={href(["tasks", one.task_id])}>{type}</a> : type}{" "}
        <span class="muted">
          <Ago at={one.created_at} />
        </span>
      </th>
      <td class="wrapped">{plain(one.url ?? "")}</td>
      <td class="number">{one.attempts}</td>
      <td class="wrapped">{plain(one.last_error ?? "")}</td>
      <td>
        {one.state === "dead" ? (
          <SmallButton onClick={() => void again()}>
            Send again
          </SmallButton>
        ) : (
          <Ago at={one.next_at} />
        )}
      </td>
    </tr>
  );
}

function Defaults() {
  const [text, setText] = useState<string>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    store.http
      .get<NotificationSettings>(SETTINGS)
      .then(({ notify }) => setText(targetsText(notify)))
      .catch((error: unknown) => setProblem(message(error)));
  }, []);

  async function save(event: Event): Promise<void> {
    event.preventDefault();
    try {
      const body = { notify: targets(text ?? "") };
      await store.http.call("PUT", SETTINGS, { body });
      setProblem(undefined);
      announce("Saved");
    } catch (error) {
      setProblem(message(error));
    }
  }

  return (
    <form noValidate onSubmit={(event) => void save(event)}>
      <Panel title="Your addresses">
        <div class="field-grid">
          <Field
            form="notifications"
            name="notify"
            label="Addresses of tasks that name none"
            help="URLs that get signed webhooks, one a line. Events before a URL choose what it gets: failed,preempted,https://…"
            error={problem}
            class="field-wide"
            control={(attributes) => (
              <textarea
                {...attributes}
                class="code"
                rows={3}
                spellcheck={false}
                value={text ?? ""}
                disabled={text === undefined}
                onInput={(event) => setText(event.currentTarget.value)}
              />
            )}
          />
        </div>
        <div class="form-buttons">
          <button type="submit" class="button button-primary" disabled={text === undefined}>
            Save
          </button>
        </div>
      </Panel>
    </form>
  );
}
