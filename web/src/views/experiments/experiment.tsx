/** One experiment: its runs with their parameters and results, as a table and as plots. */

import { useMemo, useState } from "preact/hooks";
import { readRuns } from "../../api/runs";
import { plain, plural, shortId } from "../../format";
import { href, navigate, route, setQuery, type ViewProps } from "../../router";
import { Resource } from "../../state/resource";
import { columnsOf, differing, filtered, sorted } from "../../state/runs";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { CopyButton } from "../../ui/copy";
import { Check } from "../../ui/field";
import { Empty, Loading, Problem } from "../../ui/notes";
import { perform, performIfConfirmed } from "../../ui/perform";
import { Selected } from "../../ui/selected";
import { User } from "../../ui/task_link";
import { TextFilter } from "../../ui/text_filter";
import { useChanges, useRead, useResource, useTitle } from "../../ui/use";
import type { Experiment } from "./list";
import { Parallel } from "./parallel";
import { RunTable } from "./run_table";
import { Scatter } from "./scatter";

const EVERY_MS = 30_000;
const PARTS = { "": "Table", scatter: "Scatter", parallel: "Parallel coordinates" } as const;

export default function ExperimentView({ params }: ViewProps) {
  const id = params.id ?? "";
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const experiment = useRead<Experiment>(
    `/v1/experiments/${encodeURIComponent(id)}`,
    { view: "full" },
  );
  const results = useMemo(
    () => new Resource((signal) => readRuns(store.http, id, signal)),
    [id],
  );
  const info = experiment.data.value;
  const reply = useResource(results, EVERY_MS).data.value;
  useTitle(info ? plain(info.name) : "Experiment");
  // A run of this experiment that ends has results.
  useChanges(results, (task) => task.experiment_id === id, [id]);

  const { query } = route.value;
  const hidesEqual = query.get("equal") === "hide";
  const part = (query.get("part") ?? "") as keyof typeof PARTS;
  const runs = reply?.runs ?? [];
  const text = query.get("q") ?? "";
  const sort = query.get("sort") ?? "-created";
  const shown = useMemo(() => {
    const key = sort.replace(/^-/, "");
    return sorted(filtered(runs, text), key, sort.startsWith("-"));
  }, [reply, text, sort]);
  const all = useMemo(() => columnsOf(runs), [reply]);
  const columns = useMemo(() => (hidesEqual ? differing(all, shown) : all), [all, shown, hidesEqual]);
  const toggle = (run: string) => {
    const next = new Set(selected);
    if (!next.delete(run)) next.add(run);
    setSelected(next);
  };
  const plot = { runs: shown, columns: all, selected };
  return (
    <div class="view experiment">
      <Head info={info} id={id} onChange={(next) => experiment.set(next)} />
      <Problem text={experiment.error.value ?? results.error.value} retry={() => void results.refresh()} />
      <div class="filters-row" role="search">
        <label class="experiments-search">
          <span class="off-screen">Filter runs</span>
          <TextFilter
            type="search"
            value={text}
            placeholder="Filter runs: lr=0.1 failed"
            onChange={(value) => setQuery({ q: value })}
          />
        </label>
        <Check isOn={hidesEqual} onChange={(isOn) => setQuery({ equal: isOn ? "hide" : "" })}>
          Hide equal columns
        </Check>
        <Selected
          number={selected.size}
          address={href(["compare"], { task: [...selected] })}
          onClear={() => setSelected(new Set())}
        />
      </div>
      <nav class="subviews" aria-label="Forms">
        {(Object.keys(PARTS) as (keyof typeof PARTS)[]).map((name) => (
          <a
            key={name}
            href={href(route.value.parts, withPart(query, name))}
            aria-current={name === part ? "page" : undefined}
          >
            {PARTS[name]}
          </a>
        ))}
      </nav>
      {!reply ? (
        !results.error.value && <Loading />
      ) : runs.length === 0 ? (
        <Empty>
          No run belongs to this experiment yet.
          {store.maySubmit.value && info?.status === "active" && (
            <>
              {" "}
              <a href={href(["submit"], { experiment: id })}>Submit the first</a>
            </>
          )}
        </Empty>
      ) : part === "scatter" ? (
        <Scatter {...plot} />
      ) : part === "parallel" ? (
        <Parallel {...plot} />
      ) : (
        <RunTable runs={shown} columns={columns} sort={sort} selected={selected} onToggle={toggle} />
      )}
      {reply && (
        <p class="muted" role="status">
          {plural(shown.length, "run")}
          {shown.length < reply.total && ` of ${reply.total}`}
        </p>
      )}
    </div>
  );
}

function withPart(query: URLSearchParams, part: string): URLSearchParams {
  const next = new URLSearchParams(query);
  if (part === "") next.delete("part");
  else next.set("part", part);
  return next;
}

interface HeadProps {
  info: Experiment | undefined;
  id: string;
  onChange: (info: Experiment) => void;
}

function Head({ info, id, onChange }: HeadProps) {
  const mayChange = info && store.mayEnd(info.user_id);
  const path = `/v1/experiments/${encodeURIComponent(id)}`;

  function archive(): Promise<boolean> {
    return perform(async () => {
      const query = { view: "full" };
      onChange(await store.http.call<Experiment>("POST", `${path}/archive`, { query }));
      return "Archived";
    });
  }

  function remove(): Promise<boolean> {
    const question = {
      title: `Delete ${plain(info?.name ?? "")}?`,
      text: "The experiment goes. Its tasks stay.",
      action: "Delete",
    };
    return performIfConfirmed(question, async () => {
      await store.http.call("DELETE", path);
      navigate(href(["experiments"]));
      return undefined;
    });
  }

  return (
    <header class="view-head">
      <h1 class="experiment-name">{info ? plain(info.name) : "Experiment"}</h1>
      <span class="task-id">
        {shortId(id)} <CopyButton text={id} what="the id" />
      </span>
      <User name={info?.user_id} />
      {info && info.status !== "active" && <span class="muted">{info.status}</span>}
      {mayChange && (
        <span class="view-action">
          {info.status === "active" && (
            <>
              <a class="button button-small" href={href(["submit"], { experiment: id })}>
                Submit a run
              </a>{" "}
              <button type="button" class="button button-small" onClick={() => void archive()}>
                Archive
              </button>{" "}
            </>
          )}
          <SmallButton onClick={() => void remove()}>
            Delete
          </SmallButton>
        </span>
      )}
      {info?.description && <p class="experiment-about muted">{plain(info.description)}</p>}
    </header>
  );
}
