import assert from "node:assert/strict";
import { test } from "node:test";
import { fileChanges, hunks, lineDiff } from "../src/state/diff";

const marked = (before: string, after: string) =>
  lineDiff(before, after)?.map((line) => line.mark + line.text);

test("equal texts have no changes", () => {
  assert.deepEqual(marked("a\nb\n", "a\nb\n"), [" a", " b"]);
  assert.deepEqual(marked("", ""), []);
});

test("lines that came and went are marked", () => {
  assert.deepEqual(marked("a\nb\nc\n", "a\nx\nc\nd\n"), [" a", "-b", "+x", " c", "+d"]);
  assert.deepEqual(marked("", "a\n"), ["+a"]);
  assert.deepEqual(marked("a\n", ""), ["-a"]);
});

test("applying a difference gives the new text", () => {
  let seed = 7;
  const random = (most: number) => (seed = (seed * 16_807) % 2_147_483_647) % most;
  for (let round = 0; round < 200; round++) {
    const text = () => Array.from({ length: random(12) }, () => "abc"[random(3)]).join("\n") + "\n";
    const [before, after] = [text(), text()];
    const diff = lineDiff(before, after) ?? [];
    const side = (without: string) =>
      diff.filter((line) => line.mark !== without).map((line) => line.text);
    assert.deepEqual(side("+"), before === "\n" ? [""] : before.slice(0, -1).split("\n"));
    assert.deepEqual(side("-"), after === "\n" ? [""] : after.slice(0, -1).split("\n"));
  }
});

test("line numbers are those of each side", () => {
  const [same, gone, added] = lineDiff("a\nb", "a\nc") ?? [];
  assert.deepEqual([same?.before, same?.after], [1, 1]);
  assert.deepEqual([gone?.before, gone?.after], [2, undefined]);
  assert.deepEqual([added?.before, added?.after], [undefined, 2]);
});

test("texts that have nothing in common are not compared by line", () => {
  const many = (mark: string) => Array.from({ length: 3_000 }, (_, at) => `${mark}${at}`).join("\n");
  assert.equal(lineDiff(many("a"), many("b")), undefined);
});

test("a change far from others has its own hunk", () => {
  const text = Array.from({ length: 40 }, (_, at) => `${at}`);
  const changed = text.with(5, "x").with(30, "y");
  const shown = hunks(lineDiff(text.join("\n"), changed.join("\n")) ?? []);
  assert.equal(shown.filter((line) => line === null).length, 3);
  assert.equal(shown.length, 3 + 2 * 8);
});

test("folders differ by path and hash", () => {
  const file = (path: string, sha256?: string) => ({
    path,
    size_bytes: 1,
    ...(sha256 === undefined ? {} : { sha256 }),
  });
  assert.deepEqual(
    fileChanges(
      [file("a", "1"), file("b", "1"), file("c", "1"), file("e")],
      [file("a", "1"), file("b", "2"), file("d", "1"), file("e")],
    ),
    [
      { path: "b", kind: "changed" },
      { path: "c", kind: "removed" },
      { path: "d", kind: "added" },
      { path: "e", kind: "changed" },
    ],
  );
});
