/** Curves over time as paths of SVG. */

export interface Span {
  /** Milliseconds. */
  since: number;
  until: number;
}

export interface Sample {
  /** Begin, in milliseconds. */
  at: number;
  /** `undefined`: it was not measured. */
  value: number | undefined;
}

export const WIDTH = 1000;

/** Where a time lies between 0 and `WIDTH`. */
export function place(at: number, span: Span): number {
  const share = (at - span.since) / Math.max(1, span.until - span.since);
  return round(Math.min(1, Math.max(0, share)) * WIDTH);
}

/**
 * Return the line of samples that each stand for `step` milliseconds, and the area below it, from
 * 0 to `height`. A time without samples leaves a gap.
 */
export function curve(
  samples: readonly Sample[],
  step: number,
  span: Span,
  most: number,
  height: number,
): { line: string; area: string } {
  let line = "";
  let area = "";
  for (const piece of pieces(samples, step)) {
    const corners = piece.flatMap(({ at, value }) => {
      const y = round(height * (1 - Math.min(1, Math.max(0, value / most))));
      return [`${place(at, span)},${y}`, `${place(at + step, span)},${y}`];
    });
    const left = place((piece[0] as Known).at, span);
    const right = place((piece.at(-1) as Known).at + step, span);
    line += `M${corners.join("L")}`;
    area += `M${left},${height}L${corners.join("L")}L${right},${height}Z`;
  }
  return { line, area };
}

interface Known {
  at: number;
  value: number;
}

/** Samples that follow each other without a gap. */
function pieces(samples: readonly Sample[], step: number): Known[][] {
  const found: Known[][] = [];
  let end = Number.NaN;
  for (const { at, value } of samples) {
    if (value === undefined || !Number.isFinite(value)) continue;
    // A sample may come a little late.
    if (at - end <= step / 2) found.at(-1)?.push({ at, value });
    else found.push([{ at, value }]);
    end = at + step;
  }
  return found;
}

/** The sample of a time; `undefined` if there is none near. */
export function sampleAt<T extends { at: number }>(
  samples: readonly T[],
  step: number,
  at: number,
): T | undefined {
  let low = 0;
  let high = samples.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((samples[middle] as T).at <= at) low = middle + 1;
    else high = middle;
  }
  const found = samples[low - 1];
  return found && at < found.at + 1.5 * step ? found : undefined;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
