/** The GPUs: how each is now, and how busy it was, with the tasks that held it. */

import { useMemo } from "preact/hooks";
import type { JupyterService, GpuHistory } from "../../api/types";
import { exactTime, moment, plain } from "../../format";
import { href, route, setQuery } from "../../router";
import { slowNow } from "../../state/clock";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { NodeTable, nodeSummary } from "../../ui/node_table";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { useCurrentTasks, useRead, useResource, useTitle } from "../../ui/use";
import { cursor } from "./cursor";
import { joined, rangeOf, RANGES, type RangeName } from "./history";
import { Reservations } from "./reservations";
import { TrackPanel } from "./track";

const NOW_EVERY_MS = 5_000;
const HISTORY_EVERY_MS = 30_000;
const POINTS = 400;

export default function Gpus() {
  useTitle("GPUs");
  useCurrentTasks();
  const range = rangeOf(route.value.query.get("range"));
  // The end of the time that is shown; absent: now.
  const end = Date.parse(route.value.query.get("until") ?? "");
  const history = useHistory(range, end);
  const list = useResource(store.gpus, NOW_EVERY_MS);
  const services = useServices();
  const gpus = list.data.value?.gpus;
  const until = Number.isNaN(end) ? slowNow.value : end;
  const span = { since: until - RANGES[range].ms, until };
  const problem = list.data.value?.problem;
  const nodes = list.data.value?.nodes ?? [];
  const found = useMemo(
    () => joined(history.data.value, gpus ?? [], span),
    // The span only counts while there is no reply.
    [history.data.value, gpus],
  );
  return (
    <div class="view gpus">
      <header class="view-head">
        <h1>GPUs</h1>
        {nodes.length === 0 && (
          <>
            <nav class="ranges" aria-label="Time">
              {(Object.keys(RANGES) as RangeName[]).map((name) => (
                <a
                  key={name}
                  class="button button-small"
                  aria-current={name === range ? "true" : undefined}
                  href={href(["gpus"], { range: name, until: route.value.query.get("until") ?? "" })}
                >
                  {RANGES[name].title}
                </a>
              ))}
            </nav>
            <Shift range={range} end={end} />
          </>
        )}
      </header>
      <Problem text={problem ? plain(problem) : undefined} />
      <Problem text={list.error.value ?? history.error.value} />
      {list.data.value?.notes?.map((note) => (
        <p key={note} class="note note-warning">
          {plain(note)}
        </p>
      ))}
      {nodes.length === 0 && gpus !== undefined && gpus.length > 0 && <Reservations />}
      {!gpus ? (
        !list.error.value && <Loading />
      ) : list.data.value && nodes.length > 0 ? (
        <Panel title="Nodes" aside={nodeSummary(list.data.value)}>
          <NodeTable nodes={nodes} />
        </Panel>
      ) : found.tracks.length === 0 ? (
        <Empty>This host has no GPUs.</Empty>
      ) : (
        <>
          <Cursor since={found.span.since} until={found.span.until} />
          {found.tracks.map((track) => (
            <TrackPanel key={track.uuid} track={track} history={found} services={services} />
          ))}
        </>
      )}
    </div>
  );
}

function useHistory(range: RangeName, end: number): Resource<GpuHistory> {
  const resource = useMemo(
    () =>
      new Resource((signal) => {
        const until = Number.isNaN(end) ? Date.now() : end;
        const query = {
          since: new Date(until - RANGES[range].ms).toISOString(),
          until: new Date(until).toISOString(),
          points: POINTS,
        };
        return store.http.get<GpuHistory>("/v1/gpus/history", { query, signal });
      }),
    [range, end],
  );
  return useResource(resource, Number.isNaN(end) ? HISTORY_EVERY_MS : undefined);
}

/** Names of Jupyter services, which hold GPUs as tasks do. */
function useServices(): ReadonlyMap<string, string> {
  const resource = useRead<JupyterService[]>("/v1/jupyter/services", { limit: 200 });
  const services = resource.data.value;
  return useMemo(
    () => new Map((services ?? []).map((one) => [one.id ?? "", one.name ?? ""])),
    [services],
  );
}

/** Go back and forth in time. */
function Shift({ range, end }: { range: RangeName; end: number }) {
  const isNow = Number.isNaN(end);
  const move = (by: number) => {
    const next = (isNow ? Date.now() : end) + by * RANGES[range].ms;
    setQuery({ until: next >= Date.now() ? "" : new Date(next).toISOString() });
  };
  return (
    <div class="shift">
      <SmallButton onClick={() => move(-1)}>
        Earlier
      </SmallButton>
      {!isNow && (
        <>
          <SmallButton onClick={() => move(1)}>
            Later
          </SmallButton>
          <SmallButton onClick={() => setQuery({ until: "" })}>
            Now
          </SmallButton>
        </>
      )}
    </div>
  );
}

/** The time whose values all GPUs show; a chart below sets it too. */
function Cursor({ since, until }: { since: number; until: number }) {
  const at = cursor.value;
  return (
    <div class="cursor">
      <label class="cursor-label" htmlFor="gpu-cursor">
        Values at
      </label>
      <input
        id="gpu-cursor"
        type="range"
        min={0}
        max={400}
        value={at === undefined ? 400 : ((at - since) / (until - since)) * 400}
        aria-valuetext={exactTime(at ?? until)}
        onInput={(event) => {
          const step = Number(event.currentTarget.value);
          cursor.value = step >= 400 ? undefined : since + (step / 400) * (until - since);
        }}
      />
      <output class="cursor-time number" htmlFor="gpu-cursor">
        {at === undefined ? "the end" : moment(at, slowNow.value)}
      </output>
    </div>
  );
}
