/** Times as people type them. */

const UNITS: Record<string, number> = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds of `90`, `90s`, `30m`, `12h`, `2d`. `NaN` if it is none of these. */
export function duration(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  const match = /^(\d{1,9})\s*([smhd]?)$/.exec(trimmed);
  return match ? Number(match[1]) * (UNITS[match[2] ?? ""] ?? 1) : Number.NaN;
}

/** Seconds in the largest unit that has them whole: `12h`. */
export function durationText(seconds: number | undefined): string {
  if (seconds === undefined) return "";
  if (seconds === 0) return "0";
  const [unit, size] = Object.entries(UNITS).findLast(([, size]) => seconds % size === 0) ?? ["s", 1];
  return `${seconds / size}${unit}`;
}

/** An RFC 3339 time as `<input type="datetime-local">` has it, in the browser's time zone. */
export function localTime(text: string | undefined): string {
  const at = Date.parse(text ?? "");
  if (Number.isNaN(at)) return "";
  const offset = new Date(at).getTimezoneOffset() * 60_000;
  return new Date(at - offset).toISOString().slice(0, 16);
}
