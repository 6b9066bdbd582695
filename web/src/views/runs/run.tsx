/** One run: its curves, what it was given, its files. */

import type { ComponentChildren } from "preact";
import type { LoggedRun } from "../../api/model";
import { duration, ms, plain, plural, shortId } from "../../format";
import { href, navigate, type ViewProps } from "../../router";
import { now } from "../../state/clock";
import { latestText, numberText } from "../../state/latest";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { CopyButton } from "../../ui/copy";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { performIfConfirmed } from "../../ui/perform";
import { number, Table } from "../../ui/table";
import { User } from "../../ui/task_link";
import { Ago } from "../../ui/time";
import { useTitle } from "../../ui/use";
import Curves from "../curves";
import { Artifacts } from "./artifacts";
import { isOwnTag, RunStatus } from "./parts";
import { isLogging, useRuns } from "./reading";

/** The experiment of runs that belong to none. */
const NO_EXPERIMENT = "0";

export default function RunView({ params }: ViewProps) {
  const id = params.id ?? "";
  const [runs, problem, retry] = useRuns({ ids: [id] });
  const run = runs?.[0];
  useTitle(run ? plain(run.name) : "Run");
  if (runs && !run)
    return (
      <div class="view">
        <h1>Not found</h1>
        <p>
          Run {plain(id)} not found. It may have been deleted. <a href={href(["runs"])}>All runs</a>
        </p>
      </div>
    );
  if (!run)
    return (
      <div class="view">
        <h1 class="off-screen">Run</h1>
        <Problem text={problem} retry={retry} />
        {problem === undefined && <Loading />}
      </div>
    );
  return (
    <div class="view">
      <Head run={run} />
      <Panel title="Curves" aside={plural(run.metrics.length, "metric")}>
        <Curves
          runs={[run]}
          empty={isLogging(run) ? "Nothing was logged yet." : "The run logged no metrics."}
        />
      </Panel>
      <div class="run-columns">
        <Pairs title="Parameters" of={run.params} empty="The run logged no parameters." />
        <Latest run={run} />
        <Pairs title="Tags" of={run.tags} isHidden={isOwnTag} empty="The run has no tags." />
        <Artifacts run={run} />
      </div>
    </div>
  );
}

function Head({ run }: { run: LoggedRun }) {
  const from = ms(run.started_at);
  const to = ms(run.ended_at) ?? (isLogging(run) ? now.value : undefined);

  function remove(): Promise<boolean> {
    const question = {
      title: `Delete ${plain(run.name)}?`,
      text: "The run goes, with its metrics, parameters, tags and files. Its task stays.",
      action: "Delete",
    };
    return performIfConfirmed(question, async () => {
      await store.http.call("DELETE", `/v1/runs/${encodeURIComponent(run.id)}`);
      navigate(href(["runs"]));
      return undefined;
    });
  }

  return (
    <header class="view-head">
      <h1 class="run-name">{plain(run.name)}</h1>
      <RunStatus run={run} />
      <span class="task-id">
        {shortId(run.id)} <CopyButton text={run.id} what="the id" />
      </span>
      <User name={run.user_id} />
      <span class="muted">
        <Ago at={run.started_at} />
        {from !== undefined && to !== undefined && <span class="number">, {duration(to - from)}</span>}
      </span>
      {run.task_id !== undefined && <a href={href(["tasks", run.task_id])}>Task {shortId(run.task_id)}</a>}
      {run.experiment_id !== NO_EXPERIMENT && (
        <a href={href(["experiments", run.experiment_id])}>Experiment</a>
      )}
      {store.mayEnd(run.user_id) && (
        <span class="view-action">
          <SmallButton onClick={() => void remove()}>Delete</SmallButton>
        </span>
      )}
    </header>
  );
}

interface PairsProps {
  title: string;
  of: Readonly<Record<string, string>>;
  empty: string;
  isHidden?: (name: string) => boolean;
}

function Pairs({ title, of, empty, isHidden = () => false }: PairsProps) {
  const all = Object.entries(of).toSorted(([one], [other]) => one.localeCompare(other));
  const shown = all.filter(([name]) => !isHidden(name));
  const hidden = all.filter(([name]) => isHidden(name));
  return (
    <Panel title={title} aside={plural(all.length, "entry", "entries")}>
      {all.length === 0 && <Empty>{empty}</Empty>}
      {shown.length > 0 && <List of={shown} />}
      {hidden.length > 0 && (
        <details class="run-hidden">
          <summary class="muted">{plural(hidden.length, "entry", "entries")} of MLflow</summary>
          <List of={hidden} />
        </details>
      )}
    </Panel>
  );
}

function List({ of }: { of: readonly (readonly [string, string])[] }): ComponentChildren {
  return (
    <dl class="facts panel-body run-facts">
      {of.map(([name, value]) => (
        <>
          <dt>{plain(name)}</dt>
          <dd>{plain(value)}</dd>
        </>
      ))}
    </dl>
  );
}

function Latest({ run }: { run: LoggedRun }) {
  return (
    <Panel title="Latest values" aside={plural(run.metrics.length, "metric")}>
      {run.metrics.length === 0 ? (
        <Empty>The run logged no metrics.</Empty>
      ) : (
        <Table label="Latest values" columns={["Metric", number("Value"), number("Step")]}>
          {run.metrics.map((point) => (
            <tr key={point.name}>
              <th scope="row" class="run-metric">
                {plain(point.name)}
              </th>
              <td class="number">{latestText(point)}</td>
              <td class="number">{numberText(point.step)}</td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}
