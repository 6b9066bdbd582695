/** Differences between two texts by line, and between two folders by file. */

export type Mark = " " | "+" | "-";

export interface DiffLine {
  mark: Mark;
  text: string;
  /** Numbers of the line in the old and in the new text, from 1. */
  before: number | undefined;
  after: number | undefined;
}

/** Beyond so many changed lines a comparison by line helps nobody. */
const MAX_CHANGES = 2_000;

/**
 * Return the lines of both texts (Myers' algorithm), `undefined` if they are too different. The
 * common begin and end cost nothing.
 */
export function lineDiff(before: string, after: string): DiffLine[] | undefined {
  const old = lines(before);
  const next = lines(after);
  let start = 0;
  while (start < old.length && start < next.length && old[start] === next[start]) start++;
  let same = 0;
  while (
    same < old.length - start &&
    same < next.length - start &&
    old[old.length - 1 - same] === next[next.length - 1 - same]
  )
    same++;
  const marks = script(old.slice(start, old.length - same), next.slice(start, next.length - same));
  if (!marks) return undefined;
  const found: DiffLine[] = [];
  let from = 0;
  let to = 0;
  for (const mark of [
    ...Array<Mark>(start).fill(" "),
    ...marks,
    ...Array<Mark>(same).fill(" "),
  ]) {
    const text = (mark === "+" ? next[to] : old[from]) ?? "";
    found.push({
      mark,
      text,
      before: mark === "+" ? undefined : ++from,
      after: mark === "-" ? undefined : ++to,
    });
  }
  return found;
}

/** Lines that changed, with `context` others around them; `null` where some are left out. */
export function hunks(diff: readonly DiffLine[], context = 3): (DiffLine | null)[] {
  const near = new Uint8Array(diff.length);
  diff.forEach((line, index) => {
    if (line.mark !== " ") near.fill(1, Math.max(0, index - context), index + context + 1);
  });
  const found: (DiffLine | null)[] = [];
  diff.forEach((line, index) => {
    if (near[index]) found.push(line);
    else if (found.at(-1) !== null) found.push(null);
  });
  return found;
}

function lines(text: string): string[] {
  const all = text.split("\n");
  if (all.at(-1) === "") all.pop();
  return all;
}

/** The shortest way from one list to the other. */
function script(old: readonly string[], next: readonly string[]): Mark[] | undefined {
  const most = Math.min(old.length + next.length, MAX_CHANGES);
  const ends = new Map<number, number>([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let changes = 0; changes <= most; changes++) {
    trace.push(new Map(ends));
    for (let diagonal = -changes; diagonal <= changes; diagonal += 2) {
      let x = isInsertion(ends, diagonal, changes)
        ? (ends.get(diagonal + 1) ?? 0)
        : (ends.get(diagonal - 1) ?? 0) + 1;
      let y = x - diagonal;
      while (x < old.length && y < next.length && old[x] === next[y]) {
        x++;
        y++;
      }
      ends.set(diagonal, x);
      if (x >= old.length && y >= next.length) return walk(trace, old.length, next.length);
    }
  }
  return undefined;
}

function isInsertion(ends: ReadonlyMap<number, number>, diagonal: number, changes: number): boolean {
  return (
    diagonal === -changes ||
    (diagonal !== changes && (ends.get(diagonal - 1) ?? 0) < (ends.get(diagonal + 1) ?? 0))
  );
}

function walk(trace: readonly ReadonlyMap<number, number>[], x: number, y: number): Mark[] {
  const marks: Mark[] = [];
  for (let changes = trace.length - 1; changes >= 0; changes--) {
    const ends = trace[changes] as ReadonlyMap<number, number>;
    const diagonal = x - y;
    const inserted = isInsertion(ends, diagonal, changes);
    const previous = inserted ? diagonal + 1 : diagonal - 1;
    const fromX = ends.get(previous) ?? 0;
    const fromY = fromX - previous;
    while (x > fromX && y > fromY) {
      marks.push(" ");
      x--;
      y--;
    }
    if (changes > 0) marks.push(inserted ? "+" : "-");
    x = fromX;
    y = fromY;
  }
  return marks.toReversed();
}

export interface FileEntry {
  path: string;
  size_bytes: number;
  /** Hash of the content, where the server sends one. */
  sha256?: string;
}

export interface FileChange {
  path: string;
  kind: "added" | "removed" | "changed";
}

/**
 * Return the files in which two folders differ, by path. Files of equal size without a hash may be
 * equal: only their content shows it.
 */
export function fileChanges(
  before: readonly FileEntry[],
  after: readonly FileEntry[],
): FileChange[] {
  const old = new Map(before.map((file) => [file.path, file]));
  const next = new Map(after.map((file) => [file.path, file]));
  const found: FileChange[] = [];
  for (const file of after) {
    const known = old.get(file.path);
    if (!known) found.push({ path: file.path, kind: "added" });
    else if (known.sha256 === undefined || known.sha256 !== file.sha256)
      found.push({ path: file.path, kind: "changed" });
  }
  for (const file of before)
    if (!next.has(file.path)) found.push({ path: file.path, kind: "removed" });
  return found.toSorted((one, other) => (one.path < other.path ? -1 : 1));
}
