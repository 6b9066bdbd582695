/** The latest values of metrics. */

import type { LatestPoint } from "../api/model";

const MOST = 3;
const OF_VALIDATION = /(^|[^a-z])(val|valid|validation|eval|test)([^a-z]|$)/i;

/** The value of a metric as a text. */
export function latestText(point: LatestPoint): string {
  return point.not_a_number ?? (point.value === undefined ? "" : numberText(point.value));
}

/** A number with the six digits that matter. */
export function numberText(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return String(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(5).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(6)));
}

/** The few metrics that say how a training went: those of its validation first. */
export function headline(points: readonly LatestPoint[]): LatestPoint[] {
  const rank = ({ name }: LatestPoint) => (name.startsWith("system/") ? 2 : OF_VALIDATION.test(name) ? 0 : 1);
  const own = points.filter((point) => rank(point) < 2);
  return own.toSorted((one, other) => rank(one) - rank(other)).slice(0, MOST);
}

/** The latest finite values by the names of the metrics. */
export function numbersOf(points: readonly LatestPoint[]): Record<string, number | string> {
  return Object.fromEntries(points.map((point) => [point.name, point.value ?? latestText(point)]));
}
