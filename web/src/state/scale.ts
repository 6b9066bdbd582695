/** Scales of plots: from values to places between 0 and 1, with round numbers as ticks. */

import type { Value } from "./runs";

export interface Scale {
  /** Place of a value; `undefined`: it has none on this scale. */
  place: (value: Value | undefined) => number | undefined;
  ticks: readonly { at: number; text: string }[];
}

const MAX_NAMES = 12;

/** A scale for these values: of numbers, or of names if one of them is no number. */
export function scaleOf(values: readonly (Value | undefined)[], isLog = false): Scale {
  const known = values.filter((value) => value !== undefined);
  const numbers = known.filter((value) => typeof value === "number");
  if (numbers.length < known.length) return names(known.map(String));
  const useful = isLog ? numbers.filter((value) => value > 0) : numbers;
  if (useful.length === 0) return { place: () => undefined, ticks: [] };
  const low = useful.reduce((one, other) => Math.min(one, other));
  const high = useful.reduce((one, other) => Math.max(one, other));
  return isLog ? logarithmic(low, high) : linear(low, high);
}

function linear(low: number, high: number): Scale {
  if (low === high) {
    const margin = Math.abs(low) / 2 || 0.5;
    low -= margin;
    high += margin;
  }
  const step = roundStep((high - low) / 5);
  const place = (value: Value | undefined) =>
    typeof value === "number" ? (value - low) / (high - low) : undefined;
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++)
    ticks.push({ at: place(index * step) ?? 0, text: tickText(index * step) });
  return { place, ticks };
}

function logarithmic(low: number, high: number): Scale {
  let from = Math.log10(low);
  let to = Math.log10(high);
  if (from === to) {
    from -= 0.5;
    to += 0.5;
  }
  const place = (value: Value | undefined) =>
    typeof value === "number" && value > 0 ? (Math.log10(value) - from) / (to - from) : undefined;
  const every = Math.max(1, Math.ceil((to - from) / 6));
  const ticks = [];
  for (let power = Math.ceil(from - 1e-9); power <= to + 1e-9; power += every)
    ticks.push({ at: place(10 ** power) ?? 0, text: tickText(10 ** power) });
  if (ticks.length < 2)
    return { place, ticks: [low, high].map((value) => ({ at: place(value) ?? 0, text: tickText(value) })) };
  return { place, ticks };
}

function names(values: readonly string[]): Scale {
  const all = [...new Set(values)].toSorted((one, other) =>
    one.localeCompare(other, undefined, { numeric: true }),
  );
  const places = new Map(
    all.map((name, index) => [name, all.length < 2 ? 0.5 : index / (all.length - 1)]),
  );
  const every = Math.ceil(all.length / MAX_NAMES);
  return {
    place: (value) => (value === undefined ? undefined : places.get(String(value))),
    ticks: all
      .filter((_, index) => index % every === 0)
      .map((text) => ({ at: places.get(text) ?? 0, text })),
  };
}

/** The next of 1, 2, 5, 10, … */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  const found = [1, 2, 5].find((digit) => digit * power >= step * (1 - 1e-9));
  return (found ?? 10) * power;
}

function tickText(value: number): string {
  return String(Number(value.toPrecision(4)));
}
