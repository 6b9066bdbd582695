/** Curves of runs: their groups, and the columns that a chart draws. */

import type { Curve } from "../api/model";

export const AXES = { step: "Step", time: "Time", relative: "Time since start" } as const;
export type Axis = keyof typeof AXES;

/** `null`: a gap; `undefined`: this curve has no point there, and its line goes on. */
export type Cell = number | null | undefined;

export interface Line {
  /** Id of the run. */
  run: string;
  /** The average of each bucket. */
  mean: Cell[];
  /** The average, smoothed; the same as `mean` without smoothing. */
  smooth: Cell[];
  /** The exact latest value of each bucket. */
  last: Cell[];
  low: Cell[];
  high: Cell[];
  /** How many values are not finite numbers, by index; absent: none. */
  notNumbers: ReadonlyMap<number, number>;
  /** Whether each bucket is one point. */
  isWhole: boolean;
}

export interface Table {
  /** In ascending order: the positions of all curves. */
  x: number[];
  lines: Line[];
  /** How many numbers a logarithmic axis cannot show. */
  hidden: number;
}

export interface Look {
  axis: Axis;
  /** Weight of the earlier values, from 0 (none) to below 1. */
  smoothing: number;
  isLog: boolean;
}

export interface Group {
  name: string;
  metrics: string[];
}

/** Names of metrics by what stands before their first slash: `train/loss` is in `train`. */
export function grouped(names: readonly string[]): Group[] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const slash = name.indexOf("/");
    const group = slash > 0 ? name.slice(0, slash) : "";
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  const inOrder = (one: string, other: string) => one.localeCompare(other, undefined, { numeric: true });
  return [...groups]
    .map(([name, metrics]) => ({ name, metrics: metrics.toSorted(inOrder) }))
    .toSorted((one, other) => inOrder(one.name, other.name));
}

/** Put the curves of one metric into columns over the same positions. */
export function tableOf(curves: readonly Curve[], look: Look): Table {
  const parts = curves.map((curve) => lineOf(curve, look));
  const x = [...new Set(parts.flatMap((part) => part.x))].sort((one, other) => one - other);
  const at = new Map(x.map((value, index) => [value, index]));
  const lines = parts.map(({ x: own, line }) => {
    const places = own.map((value) => at.get(value) as number);
    const spread = (cells: readonly Cell[]) => {
      const column: Cell[] = new Array<Cell>(x.length).fill(undefined);
      places.forEach((place, index) => (column[place] = cells[index]));
      return column;
    };
    return {
      ...line,
      mean: spread(line.mean),
      smooth: spread(line.smooth),
      last: spread(line.last),
      low: spread(line.low),
      high: spread(line.high),
      notNumbers: new Map([...line.notNumbers].map(([index, count]) => [places[index] as number, count])),
    };
  });
  return { x, lines, hidden: parts.reduce((sum, { hidden }) => sum + hidden, 0) };
}

/** A longer pause than so many usual ones is a gap on an axis of time. */
const GAP = 10;

function lineOf(curve: Curve, { axis, smoothing, isLog }: Look) {
  const x: number[] = [];
  const mean: Cell[] = [];
  const [last, low, high]: [Cell[], Cell[], Cell[]] = [[], [], []];
  const notNumbers = new Map<number, number>();
  let hidden = 0;
  const pause = axis === "step" ? Number.POSITIVE_INFINITY : GAP * usualPause(curve.x);
  const shown = (value: number) => (isLog && value <= 0 ? null : value);
  curve.x.forEach((place, index) => {
    const before = curve.x[index - 1];
    if (before !== undefined && place - before > pause) {
      x.push((place + before) / 2);
      for (const cells of [mean, last, low, high]) cells.push(null);
    }
    const bad = curve.not_numbers[index] ?? 0;
    if (bad > 0) notNumbers.set(x.length, bad);
    x.push(place);
    const hasNumber = (curve.count[index] ?? 0) > 0;
    const cell = (values: readonly number[]) => (hasNumber ? shown(values[index] as number) : null);
    mean.push(cell(curve.mean));
    last.push(cell(curve.last));
    high.push(cell(curve.max));
    // On a logarithmic axis the band ends where its line does.
    low.push(cell(curve.min) ?? mean.at(-1));
    if (hasNumber && mean.at(-1) === null) hidden++;
  });
  const smooth = smoothing > 0 ? smoothed(mean, smoothing) : mean;
  const line = { run: curve.run_id, mean, smooth, last, low, high, notNumbers, isWhole: curve.whole };
  return { x, line, hidden };
}

function usualPause(x: readonly number[]): number {
  const pauses = x.slice(1).map((value, index) => value - (x[index] as number));
  const known = pauses.filter((pause) => pause > 0).sort((one, other) => one - other);
  return known[known.length >> 1] ?? Number.POSITIVE_INFINITY;
}

/**
 * The exponential moving average. The first values are not drawn towards 0, and a gap stays one,
 * after which the average goes on.
 */
export function smoothed(cells: readonly Cell[], weight: number): Cell[] {
  let sum = 0;
  let total = 0;
  return cells.map((cell) => {
    if (cell === null || cell === undefined) return cell;
    sum = weight * sum + (1 - weight) * cell;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

/** Indexes of points without a neighbour, to which no line leads. */
export function alone(cells: readonly Cell[]): number[] {
  const found: number[] = [];
  let before: number | null = null; // The last known value's index, unless a gap follows it.
  let hasNeighbour = false;
  const end = () => {
    if (before !== null && !hasNeighbour) found.push(before);
  };
  cells.forEach((cell, index) => {
    if (cell === undefined) return;
    if (cell === null) {
      end();
      before = null;
      hasNeighbour = false;
      return;
    }
    if (before !== null) hasNeighbour = true;
    before = index;
  });
  end();
  return found;
}

const MOST_CURVES = 400;
const MOST_METRICS = 24;
const MOST_CHARACTERS = 4_000;

/** Split names of metrics into requests: none has more curves, or a longer address, than may be. */
export function batches(names: readonly string[], runs: number): string[][] {
  const most = Math.max(1, Math.min(MOST_METRICS, Math.floor(MOST_CURVES / Math.max(1, runs))));
  const found: string[][] = [];
  let characters = 0;
  for (const name of names) {
    const length = encodeURIComponent(name).length + 9;
    const current = found.at(-1);
    if (current && current.length < most && characters + length <= MOST_CHARACTERS) {
      current.push(name);
      characters += length;
    } else {
      found.push([name]);
      characters = length;
    }
  }
  return found;
}

/** A value with the few digits that an axis has room for. */
export function axisText(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(6)));
}
