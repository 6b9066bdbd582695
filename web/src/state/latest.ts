/** The latest values of metrics. */

import type { LatestPoint } from "../api/model";
import { shown } from "./runs";

const MOST = 3;
const OF_VALIDATION = /(^|[^a-z])(val|valid|validation|eval|test)([^a-z]|$)/i;

/** The value of a metric as a text. */
export function latestText(point: LatestPoint): string {
  return point.not_a_number ?? shown(point.value);
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
