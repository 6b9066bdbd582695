/** The curves of one metric, drawn by uPlot. */

import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Curve } from "../../api/model";
import { count, duration, exactTime, plain, plural } from "../../format";
import { alone, axisText, tableOf, type Cell, type Line, type Look, type Table } from "../../state/curves";
import { numberText } from "../../state/latest";
import { scheme } from "../../state/theme";
import { Colour, colourOf, isDashed } from "./colours";

export interface DrawnRun {
  id: string;
  name: string;
}

interface Props {
  metric: string;
  curves: readonly Curve[];
  runs: readonly DrawnRun[];
  look: Look;
  /** The part that is asked for; `undefined`: to the ends of the curves. */
  from: number | undefined;
  to: number | undefined;
  onZoom: (from: number | undefined, to: number | undefined) => void;
  height: number;
}

/** More runs have no room for bands, nor for a legend above each chart. */
const MOST_WITH_BANDS = 4;
const KEY = "metrics";
/** Of points that no line leads to, and of marks for values that are not numbers. */
const POINT = 5;

export function CurveChart({ metric, curves, runs, look, from, to, onZoom, height }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const legend = useRef<HTMLUListElement>(null);
  const plot = useRef<uPlot | null>(null);
  const numbers = useMemo(() => new Map(runs.map((run, index) => [run.id, index])), [runs]);
  const table = useMemo(() => tableOf(curves, look), [curves, look]);
  const latest = useRef({ table, onZoom });
  latest.current = { table, onZoom };
  const isMany = runs.length > MOST_WITH_BANDS;
  const hasBands = !isMany && look.smoothing === 0;
  const hasRaw = !isMany && look.smoothing > 0;
  const drawn = table.lines.map(({ run }) => run).join();
  const isLog = look.isLog && hasPositive(table);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const options = optionsOf({
      element,
      height,
      look: { ...look, isLog },
      numbers: table.lines.map(({ run }) => numbers.get(run) ?? 0),
      hasBands,
      hasRaw,
      table: () => latest.current.table,
      onCursor: showValues,
      onZoom: (low, high) => latest.current.onZoom(low, high),
    });
    if (from !== undefined || to !== undefined)
      options.scales = { ...options.scales, x: { ...options.scales?.x, range: (_plot, low, high) => [from ?? low, to ?? high] } };
    const made = new uPlot(options, columns(table, hasBands, hasRaw), element);
    plot.current = made;
    showValues();
    const observer = new ResizeObserver(() => {
      if (element.clientWidth !== made.width) made.setSize({ width: element.clientWidth, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [drawn, look.axis, isLog, hasBands, hasRaw, from, to, height, scheme.value]);

  useEffect(() => {
    const made = plot.current;
    if (!made || made.data[0] === table.x) return;
    made.setData(columns(table, hasBands, hasRaw));
    showValues();
  }, [table]);

  /** Write the values at the cursor, or the last ones, into the legend. */
  function showValues(): void {
    const made = plot.current;
    if (!made) return;
    const { x, lines } = latest.current.table;
    const isAtCursor = made.cursor.idx !== null && made.cursor.idx !== undefined;
    const index = made.cursor.idx ?? x.length - 1;
    const texts = lines.map((line) => valueText(line, isAtCursor ? index : undefined, !isMany));
    legend.current?.querySelectorAll(".metric-value").forEach((place, number) => {
      place.textContent = texts[number] ?? "";
    });
    const place = x[index];
    box.current?.setAttribute("aria-valuemax", String(Math.max(0, x.length - 1)));
    box.current?.setAttribute("aria-valuenow", String(Math.max(0, index)));
    const names = lines.map(({ run }, number) => {
      const name = runs[numbers.get(run) ?? 0]?.name ?? "";
      return runs.length > 1 ? `${plain(name)} ${texts[number]}` : (texts[number] ?? "");
    });
    const at = place === undefined ? "" : placeText(place, look);
    box.current?.setAttribute("aria-valuetext", `${at}: ${names.join(", ")}`);
    const where = legend.current?.querySelector(".metric-place");
    if (where) where.textContent = isAtCursor ? at : "";
  }

  /** The arrow keys move the cursor as the pointer does; Escape takes it away. */
  function move(event: KeyboardEvent): void {
    const made = plot.current;
    if (!made || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = made.data[0].length - 1;
    const index = made.cursor.idx ?? last;
    const steps = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last };
    if (event.key === "Escape") made.setCursor({ left: -10, top: -10 });
    else if (Object.hasOwn(steps, event.key)) {
      const place = made.data[0][Math.min(last, Math.max(0, steps[event.key as keyof typeof steps]))];
      if (place === undefined) return;
      made.setCursor({ left: made.valToPos(place, "x"), top: 0 });
    } else return;
    event.preventDefault();
  }

  return (
    <>
      <ul ref={legend} class={isMany ? "metric-legend metric-legend-many" : "metric-legend"}>
        {table.lines.map(({ run }) => {
          const number = numbers.get(run) ?? 0;
          return (
            <li key={run}>
              {runs.length > 1 && (
                <>
                  <Colour number={number} />
                  <span class="metric-run clipped">{plain(runs[number]?.name ?? "")}</span>{" "}
                </>
              )}
              <span class="metric-value number" />
            </li>
          );
        })}
        <li class="metric-place muted number" />
      </ul>
      <div
        ref={box}
        class="chart-plot"
        role="slider"
        tabIndex={0}
        aria-label={`Values of ${plain(metric)}`}
        aria-valuemin={0}
        aria-valuenow={0}
        onKeyDown={move}
        onDblClick={() => onZoom(undefined, undefined)}
      />
      <Remarks table={table} isLog={look.isLog} />
    </>
  );
}

function Remarks({ table, isLog }: { table: Table; isLog: boolean }) {
  let bad = 0;
  for (const line of table.lines) for (const value of line.notNumbers.values()) bad += value;
  if (bad === 0 && table.hidden === 0) return null;
  return (
    <p class="metric-remark">
      {bad > 0 && (
        <span class="metric-bad">
          <span aria-hidden="true">✕ </span>
          {plural(bad, "value")} {bad === 1 ? "is" : "are"} NaN or infinite.{" "}
        </span>
      )}
      {isLog && table.hidden > 0 && (
        <span>{plural(table.hidden, "point")} at or below 0: not on a logarithmic axis.</span>
      )}
    </p>
  );
}

function hasPositive(table: Table): boolean {
  return table.lines.some((line) => line.mean.some((value) => typeof value === "number" && value > 0));
}

/** The value of a line at a position, or at its end; `hasLimits`: also the limits of its bucket. */
function valueText(line: Line, index: number | undefined, hasLimits: boolean): string {
  let at = index ?? line.mean.length - 1;
  // Between its own points a line shows the one before.
  while (at > 0 && line.mean[at] === undefined) at--;
  const bad = line.notNumbers.get(at) ?? 0;
  const value = index === undefined || line.isWhole ? line.last[at] : line.mean[at];
  if (value === null || value === undefined) return bad > 0 ? "NaN or infinite" : "";
  const text = numberText(value) + (bad > 0 ? ` and ${count(bad)} NaN or infinite` : "");
  const [low, high] = [line.low[at], line.high[at]];
  if (!hasLimits || index === undefined || line.isWhole || typeof low !== "number" || typeof high !== "number") return text;
  return low === high ? text : `${text} (${axisText(low)} to ${axisText(high)})`;
}

function placeText(place: number, { axis }: Look): string {
  if (axis === "time") return exactTime(1000 * place);
  if (axis === "relative") return `after ${duration(1000 * place)}`;
  return `step ${axisText(place)}`;
}

/** Each line is its average, and with bands its limits; or the raw and the smoothed average. */
function columns(table: Table, hasBands: boolean, hasRaw: boolean): uPlot.AlignedData {
  const lines: Cell[][] = table.lines.flatMap((line) =>
    hasBands ? [line.mean, line.high, line.low] : hasRaw ? [line.smooth, line.mean] : [line.smooth],
  );
  return [table.x, ...lines] as uPlot.AlignedData;
}

interface Drawing {
  element: HTMLElement;
  height: number;
  look: Look;
  /** Of the run of each line. */
  numbers: readonly number[];
  hasBands: boolean;
  hasRaw: boolean;
  table: () => Table;
  onCursor: () => void;
  onZoom: (from: number, to: number) => void;
}

function optionsOf(drawing: Drawing): uPlot.Options {
  const { element, height, look, numbers, hasBands, hasRaw, table } = drawing;
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const axis: uPlot.Axis = {
    stroke: colour("muted"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
    font: `11px ${style.fontFamily}`,
  };
  const faint = (of: string) => `color-mix(in srgb, ${of} 22%, transparent)`;
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  for (const number of numbers) {
    const stroke = colour(colourOf(number));
    const line: uPlot.Series = {
      stroke,
      width: 1.5,
      points: { show: true, size: POINT, stroke, fill: stroke, filter: isolated },
    };
    if (isDashed(number)) line.dash = [5, 3];
    series.push(line);
    if (hasBands) {
      const edge: uPlot.Series = { stroke: "transparent", width: 0, points: { show: false } };
      bands.push({ series: [series.length, series.length + 1], fill: faint(stroke) });
      series.push(edge, edge);
    } else if (hasRaw) series.push({ stroke: faint(stroke), width: 1, points: { show: false } });
  }
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: true, y: false, setScale: false },
      // A drag is of one chart; the others only follow the pointer.
      sync: { key: KEY, scales: ["x", null], filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
      bind: { dblclick: () => null },
    },
    scales: {
      x: { time: look.axis === "time" },
      y: look.isLog ? { distr: 3 } : {},
    },
    axes: [
      look.axis === "time"
        ? { ...axis, size: 40 }
        : {
            ...axis,
            size: 26,
            values: (_plot, values) =>
              values.map((value) => (look.axis === "step" ? compact(value) : shortDuration(value))),
          },
      { ...axis, size: 60, values: (_plot, values) => values.map((value) => (value === null ? "" : axisText(value))) },
    ],
    series,
    bands,
    hooks: {
      setCursor: [drawing.onCursor],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) return;
          const low = plot.posToVal(left, "x");
          const high = plot.posToVal(left + width, "x");
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          drawing.onZoom(low, high);
        },
      ],
      draw: [(plot) => drawMarks(plot, table(), colour("danger"))],
    },
  };
}

function isolated(plot: uPlot, series: number): number[] {
  return alone((plot.data[series] ?? []) as Cell[]);
}

/** A cross at the bottom wherever a value is not a number. */
function drawMarks(plot: uPlot, table: Table, colour: string): void {
  const places = new Set(table.lines.flatMap((line) => [...line.notNumbers.keys()]));
  if (places.size === 0) return;
  const { ctx, bbox } = plot;
  const size = (POINT / 2) * devicePixelRatio;
  const bottom = bbox.top + bbox.height - 2 * size;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.beginPath();
  for (const index of places) {
    const left = plot.valToPos(table.x[index] ?? 0, "x", true);
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    ctx.moveTo(left - size, bottom - size);
    ctx.lineTo(left + size, bottom + size);
    ctx.moveTo(left + size, bottom - size);
    ctx.lineTo(left - size, bottom + size);
  }
  ctx.stroke();
  ctx.restore();
}

const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 });

function compact(value: number): string {
  return short.format(value);
}

function shortDuration(seconds: number): string {
  if (seconds < 60) return `${axisText(seconds)} s`;
  if (seconds < 7_200) return `${axisText(Math.round(seconds / 6) / 10)} min`;
  return `${axisText(Math.round(seconds / 360) / 10)} h`;
}
