/** Times as people type them. */

const UNITS: Record<string, number> = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds of `90`, `90s`, `30m`, `12h`, `2d`. `NaN` if it is none of these. */
export function duration(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  const match = /^(\d{1,9})\s*([smhd]?)$/.exec(trimmed);
  return match ? Number(match[1]) * (UNITS[match[2] ?? ""] ?? 1) : Number.NaN;
}
