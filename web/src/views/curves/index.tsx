/** Charts of what runs logged, grouped by the names of the metrics. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Curve, LoggedRun } from "../../api/model";
import { plain, plural } from "../../format";
import { route, setQuery } from "../../router";
import { CurveReader } from "../../state/curve_reader";
import { AXES, grouped, type Axis, type Look } from "../../state/curves";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Check, Options } from "../../ui/field";
import { Icon } from "../../ui/icon";
import { Empty, Problem } from "../../ui/notes";
import { TextFilter } from "../../ui/text_filter";
import { CurveChart, type DrawnRun } from "./chart";
import { Colour } from "./colours";

const BUCKETS = 500;
const HEIGHT = 170;
const LARGE_HEIGHT = 380;
/** Charts this near to the window are drawn before they come into view. */
const NEAR = "300px";

interface Props {
  runs: readonly LoggedRun[];
  /** Names for the legend; without them those of the runs. */
  names?: ReadonlyMap<string, string>;
  /** What there is to say while nothing was logged. */
  empty: string;
}

export default function Curves({ runs, names, empty }: Props) {
  const { query } = route.value;
  const axis = axisOf(query.get("x"));
  const isLog = query.get("log") === "1";
  const smoothing = Math.min(0.99, Math.max(0, Number(query.get("smooth")) || 0));
  const from = numberOf(query.get("from"));
  const to = numberOf(query.get("to"));
  const words = (query.get("metric") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const large = query.get("large");

  const ids = runs.map((run) => run.id).join();
  const labels = runs.map((run) => names?.get(run.id) ?? run.name).join("\0");
  const drawn = useMemo<DrawnRun[]>(
    () => runs.map((run) => ({ id: run.id, name: names?.get(run.id) ?? run.name })),
    [ids, labels],
  );
  const look = useMemo<Look>(() => ({ axis, smoothing, isLog }), [axis, smoothing, isLog]);
  const reader = useMemo(
    () => new CurveReader(store.http, { runs: ids.split(",").filter(Boolean), axis, from, to, buckets: BUCKETS }),
    [ids, axis, from, to],
  );
  useEffect(() => () => reader.stop(), [reader]);
  useNewPoints(runs, reader);

  const all = useMemo(
    () => [...new Set(runs.flatMap((run) => run.metrics.map((point) => point.name)))],
    [runs],
  );
  const shown = all.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  const groups = useMemo(() => grouped(shown), [shown.join("\0")]);
  const zoom = (low: number | undefined, high: number | undefined) =>
    setQuery({ from: rounded(low, axis), to: rounded(high, axis) });

  if (all.length === 0) return <Empty>{empty}</Empty>;
  return (
    <div class="metrics">
      <div class="metrics-bar" role="search" aria-label="Curves">
        <label class="metrics-filter">
          <span class="off-screen">Filter metrics</span>
          <TextFilter
            type="search"
            value={query.get("metric") ?? ""}
            placeholder={`Filter ${plural(all.length, "metric")}`}
            onChange={(text) => setQuery({ metric: text })}
          />
        </label>
        <label class="metrics-choice">
          Over
          <select
            value={axis}
            onChange={(event) => {
              const next = event.currentTarget.value;
              setQuery({ x: next === "step" ? "" : next, from: "", to: "" });
            }}
          >
            <Options of={Object.entries(AXES)} />
          </select>
        </label>
        <label class="metrics-choice">
          Smoothing
          <input
            type="range"
            min={0}
            max={0.99}
            step={0.01}
            value={smoothing}
            onInput={(event) => setQuery({ smooth: Number(event.currentTarget.value) ? event.currentTarget.value : "" })}
          />
          <span class="number metrics-smoothing">{smoothing.toFixed(2)}</span>
        </label>
        <Check isOn={isLog} onChange={(isOn) => setQuery({ log: isOn ? "1" : "" })}>
          Logarithmic
        </Check>
        <Part key={`${axis} ${from} ${to}`} axis={axis} from={from} to={to} onChange={zoom} />
      </div>
      {drawn.length > 1 && (
        <ul class="metrics-runs" aria-label="Runs">
          {drawn.map((run, number) => (
            <li key={run.id}>
              <Colour number={number} /> {plain(run.name)}
            </li>
          ))}
        </ul>
      )}
      <Problem text={reader.problem.value} retry={() => reader.retry()} />
      {groups.length === 0 && <Empty>No metric has such a name.</Empty>}
      {groups.map((group) => (
        <details key={group.name} class="metrics-group" open>
          <summary>
            <h3>{group.name === "" ? "Metrics" : plain(group.name)}</h3>{" "}
            <span class="muted number">{group.metrics.length}</span>
          </summary>
          <div class="metrics-grid">
            {group.metrics.map((metric) => (
              <Slot
                key={metric}
                metric={metric}
                reader={reader}
                runs={drawn}
                look={look}
                from={from}
                to={to}
                onZoom={zoom}
                isLarge={metric === large}
              />
            ))}
          </div>
        </details>
      ))}
    </div>
  );
}

function axisOf(text: string | null): Axis {
  return text !== null && Object.hasOwn(AXES, text) ? (text as Axis) : "step";
}

function numberOf(text: string | null): number | undefined {
  if (text === null || text.trim() === "") return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** As many digits as a zoom needs, so that the address stays short. */
function rounded(value: number | undefined, axis: Axis): string {
  if (value === undefined) return "";
  return String(axis === "step" ? Number(value.toPrecision(7)) : Math.round(1000 * value) / 1000);
}

interface PartProps {
  axis: Axis;
  from: number | undefined;
  to: number | undefined;
  onChange: (from: number | undefined, to: number | undefined) => void;
}

/** The part that is drawn: what dragging in a chart chooses, for the keyboard. */
function Part({ axis, from, to, onChange }: PartProps) {
  const isZoomed = from !== undefined || to !== undefined;
  const input = (name: string, value: number | undefined, change: (value: number | undefined) => void) => (
    <label class="metrics-choice">
      {name}
      <input
        class="metrics-end number"
        inputMode="decimal"
        value={value ?? ""}
        placeholder={name === "From" ? "start" : "end"}
        onChange={(event) => change(numberOf(event.currentTarget.value))}
      />
    </label>
  );
  return (
    <>
      {axis !== "time" && input("From", from, (value) => onChange(value, to))}
      {axis !== "time" && input("to", to, (value) => onChange(from, value))}
      {isZoomed && <SmallButton onClick={() => onChange(undefined, undefined)}>Show all</SmallButton>}
    </>
  );
}

/** Read the metrics again that have new points since the runs were read last. */
function useNewPoints(runs: readonly LoggedRun[], reader: CurveReader): void {
  const known = useRef<ReadonlyMap<string, string>>(new Map());
  useEffect(() => {
    const found = new Map<string, string>();
    for (const run of runs)
      for (const { name, step, at, value } of run.metrics)
        found.set(name, `${found.get(name) ?? ""} ${run.id} ${step} ${at} ${value}`);
    const changed = [...found].filter(([name, text]) => (known.current.get(name) ?? text) !== text);
    known.current = found;
    if (changed.length > 0) reader.refresh(changed.map(([name]) => name));
  }, [runs]);
}

interface SlotProps {
  metric: string;
  reader: CurveReader;
  runs: readonly DrawnRun[];
  look: Look;
  from: number | undefined;
  to: number | undefined;
  onZoom: (from: number | undefined, to: number | undefined) => void;
  isLarge: boolean;
}

/** The place of a chart, which is read and drawn only while it is in view. */
function Slot({ metric, reader, isLarge, ...rest }: SlotProps) {
  const box = useRef<HTMLElement>(null);
  const [isNear, setNear] = useState(false);
  const curves = reader.curves(metric).value;
  // Until the new curves are there the old ones stay, unless they are over something else.
  const last = useRef<{ axis: Axis; runs: unknown; curves: readonly Curve[] } | null>(null);
  if (curves) last.current = { axis: rest.look.axis, runs: rest.runs, curves };
  const isOld = last.current?.axis !== rest.look.axis || last.current.runs !== rest.runs;
  const found = isOld ? undefined : last.current?.curves;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new IntersectionObserver(
      (entries) => setNear(entries.at(-1)?.isIntersecting ?? false),
      { rootMargin: NEAR },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => (isNear ? reader.want(metric) : undefined), [isNear, reader, metric, curves === undefined]);

  const name = plain(metric);
  return (
    <figure ref={box} class={isLarge ? "metric metric-large" : "metric"} aria-label={name}>
      <figcaption class="metric-head">
        <span class="metric-title" title={name}>
          {name}
        </span>
        <button
          type="button"
          class="button-icon"
          aria-label={isLarge ? `Make ${name} smaller` : `Enlarge ${name}`}
          onClick={() => setQuery({ large: isLarge ? "" : metric })}
        >
          <Icon name={isLarge ? "down" : "up"} />
        </button>
      </figcaption>
      {isNear && found ? (
        found.length === 0 ? (
          <p class="metric-none muted">No points in this part.</p>
        ) : (
          <CurveChart metric={metric} curves={found} {...rest} height={isLarge ? LARGE_HEIGHT : HEIGHT} />
        )
      ) : (
        <p class="metric-none muted" />
      )}
    </figure>
  );
}
