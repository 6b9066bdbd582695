/** All experiments, and the form that makes one. */

import { useState } from "preact/hooks";
import type { Experiment as ApiExperiment } from "../../api/types";
import { plain, plural, shortId } from "../../format";
import { href, navigate, route, setQuery } from "../../router";
import { store } from "../../state/store";
import { ExperimentTasks } from "../../ui/counts";
import { Check } from "../../ui/field";
import { TextField, useForm } from "../../ui/form";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { Table } from "../../ui/table";
import { User } from "../../ui/task_link";
import { TextFilter } from "../../ui/text_filter";
import { Ago } from "../../ui/time";
import { useRead, useTitle } from "../../ui/use";

export type Experiment = ApiExperiment &
  Required<Pick<ApiExperiment, "id" | "name" | "status" | "created_at">>;

const EVERY_MS = 15_000;
const MOST = 500;

export default function Experiments() {
  useTitle("Experiments");
  const [isMaking, setMaking] = useState(false);
  const list = useRead<Experiment[]>("/v1/experiments", { view: "full", limit: MOST }, EVERY_MS);
  const all = list.data.value;
  const { query } = route.value;
  const text = query.get("q") ?? "";
  const withArchived = query.get("archived") === "1";
  const words = text.toLowerCase();
  const shown = all?.filter(
    (one) =>
      (withArchived || one.status === "active") &&
      [one.name, one.id, one.user_id, one.description].some((part) =>
        part?.toLowerCase().includes(words),
      ),
  );
  return (
    <div class="view experiments">
      <header class="view-head">
        <h1>Experiments</h1>
        {store.maySubmit.value && !isMaking && (
          <button
            type="button"
            class="button button-primary view-action"
            onClick={() => setMaking(true)}
          >
            New experiment
          </button>
        )}
      </header>
      {isMaking && <NewExperiment onClose={() => setMaking(false)} />}
      <div class="filters-row" role="search">
        <label class="experiments-search">
          <span class="off-screen">Search name, id, user</span>
          <TextFilter
            type="search"
            value={text}
            placeholder="Search name, id, user"
            onChange={(value) => setQuery({ q: value })}
          />
        </label>
        <Check isOn={withArchived} onChange={(isOn) => setQuery({ archived: isOn ? "1" : "" })}>
          Archived too
        </Check>
      </div>
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!shown ? (
        !list.error.value && <Loading />
      ) : (
        <Panel title="All" aside={plural(shown.length, "experiment")}>
          {shown.length === 0 ? (
            <Empty>
              {all?.length === 0
                ? "There are no experiments yet. They group runs, so that their parameters and results can be compared."
                : "No experiment matches."}
            </Empty>
          ) : (
            <Table columns={["Name", "Tasks", "User", "Created", "Description"]}>
              {shown.map((one) => (
                <tr key={one.id}>
                  <th scope="row">
                    <a href={href(["experiments", one.id])}>{plain(one.name)}</a>{" "}
                    <span class="task-id">{shortId(one.id)}</span>{" "}
                    {one.status !== "active" && <span class="muted">{one.status}</span>}
                  </th>
                  <td class="counts-cell">
                    <ExperimentTasks experiment={one} />
                  </td>
                  <td>
                    <User name={one.user_id} />
                  </td>
                  <td>
                    <Ago at={one.created_at} />
                  </td>
                  <td class="muted wide">{plain(one.description ?? "")}</td>
                </tr>
              ))}
            </Table>
          )}
        </Panel>
      )}
    </div>
  );
}

function NewExperiment({ onClose }: { onClose: () => void }) {
  const form = useForm("experiment", { name: "", description: "" });

  async function make(): Promise<void> {
    const description = form.values.description.trim();
    const body = { name: form.values.name.trim(), description: description || undefined };
    const made = await store.http.call<Experiment>("POST", "/v1/experiments", { body });
    navigate(href(["experiments", made.id]));
  }

  return (
    <form noValidate onSubmit={(event) => void form.submit(event, make)}>
      <Panel title="New experiment">
        <div class="field-grid">
          <TextField form={form} name="name" label="Name" isRequired />
          <TextField form={form} name="description" label="Description" />
        </div>
        <Problem text={form.problem} />
        <div class="form-buttons">
          <button type="submit" class="button button-primary">
            Create
          </button>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </Panel>
    </form>
  );
}
