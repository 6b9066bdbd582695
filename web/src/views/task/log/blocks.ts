/** Blocks of a log: byte ranges as lines, with a bound on everything that a task can make large. */

import { afterReturns, parseLine, PLAIN, type Span } from "./sgr";

export const BLOCK_BYTES = 64 * 1024;
export const MOST_LINES = 1_000;
/** A longer line continues in further rows. */
const ROW_CHARACTERS = 4_000;
/** Most spans of a row: more become one, without colours. */
const MOST_SPANS = 400;
const NEWLINE = 10;

export interface Line {
  /** Its first byte in the log. */
  offset: number;
  spans: readonly Span[];
}

export interface Block {
  /** First byte. */
  from: number;
  /** First byte after it. */
  to: number;
  lines: readonly Line[];
  /** First byte of a last line without its break: it may go on, or begin again after a return. */
  open?: number;
}

/**
 * Make a block from bytes whose first one is at `offset`.
 *
 * `keep` is the side that must stay: where a reader goes on forwards, the first lines; backwards,
 * the last ones. `isStart`: the bytes begin a line. `isEnd`: nothing follows, so that a last line
 * without a break is whole.
 */
export function blockOf(
  bytes: Uint8Array,
  offset: number,
  keep: "first" | "last",
  isStart: boolean,
  isEnd: boolean,
): Block {
  let from = 0;
  let to = bytes.length;
  if (!isStart) {
    const first = bytes.indexOf(NEWLINE);
    if (first >= 0 && first + 1 < bytes.length) from = first + 1;
  }
  if (!isEnd) {
    const last = bytes.lastIndexOf(NEWLINE);
    if (last >= from) to = last + 1;
  }
  const starts = lineStarts(bytes, from, to);
  if (starts.length > MOST_LINES) {
    if (keep === "first") {
      to = starts[MOST_LINES] as number;
      starts.length = MOST_LINES;
    } else {
      starts.splice(0, starts.length - MOST_LINES);
      from = starts[0] as number;
    }
  }
  const block: Block = {
    from: offset + from,
    to: offset + to,
    lines: linesOf(bytes, offset, starts, to),
  };
  const last = starts.at(-1);
  if (last !== undefined && bytes[to - 1] !== NEWLINE) block.open = offset + last;
  return block;
}

function lineStarts(bytes: Uint8Array, from: number, to: number): number[] {
  const starts: number[] = [];
  for (let at = from; at < to; ) {
    starts.push(at);
    const end = bytes.indexOf(NEWLINE, at);
    if (end < 0) break;
    at = end + 1;
  }
  return starts;
}

function linesOf(bytes: Uint8Array, offset: number, starts: readonly number[], to: number): Line[] {
  const decoder = new TextDecoder();
  const lines: Line[] = [];
  let style = { ...PLAIN };
  starts.forEach((start, index) => {
    let end = starts[index + 1] ?? to;
    if (end > start && bytes[end - 1] === NEWLINE) end--;
    const text = afterReturns(decoder.decode(bytes.subarray(start, end)));
    for (let at = 0; at === 0 || at < text.length; at += ROW_CHARACTERS) {
      const parsed = parseLine(text.slice(at, at + ROW_CHARACTERS), style);
      ({ style } = parsed);
      lines.push({ offset: offset + start, spans: bounded(parsed.spans) });
    }
  });
  return lines;
}

function bounded(spans: readonly Span[]): readonly Span[] {
  return spans.length <= MOST_SPANS
    ? spans
    : [{ text: spans.map((span) => span.text).join(""), classes: "" }];
}

export function textOf(line: Line): string {
  return line.spans.map((span) => span.text).join("");
}
