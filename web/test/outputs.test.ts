import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST_COLUMNS, MOST_ROWS, parseCsv, separatorOf } from "../src/state/csv";
import { firstShown, kindOf } from "../src/views/task/outputs/kinds";

test("cells with quotes, breaks and separators are read as RFC 4180 has them", () => {
  const { rows } = parseCsv('a,"b, ""c""\nd",e\r\n1,,3\n\n"open', ",");
  assert.deepEqual(rows, [["a", 'b, "c"\nd', "e"], ["1", "", "3"], ["open"]]);
});

test("a table is bounded in rows and columns", () => {
  const many = parseCsv("1\n".repeat(MOST_ROWS * 3), ",");
  assert.equal(many.rows.length, MOST_ROWS);
  assert.ok(many.isCut);
  const wide = parseCsv("x,".repeat(MOST_COLUMNS * 3), ",");
  assert.equal(wide.rows[0]?.length, MOST_COLUMNS);
  assert.ok(wide.isCut);
});

test("the separator is the first line's", () => {
  assert.equal(separatorOf("a,b,c\n1;2", "x.csv"), ",");
  assert.equal(separatorOf("a;b;c\n1,2", "x.csv"), ";");
  assert.equal(separatorOf("a,b", "x.tsv"), "\t");
});

test("documents that could run are texts, and unknown files have no preview", () => {
  for (const name of ["evil.svg", "evil.HTML", "a/b.xml", "script.js", "README"])
    assert.equal(kindOf(name)?.is, "text", name);
  assert.equal(kindOf("x.png")?.is, "picture");
  for (const name of ["model.pt", "x.constructor", "x.__proto__", "x.toString"])
    assert.equal(kindOf(name), undefined, name);
});

test("pictures are shown before tables, tables before texts", () => {
  const files = ["a.txt", "b.csv", "c.png", "d.bin"].map((path) => ({ path }));
  assert.equal(firstShown(files)?.path, "c.png");
  assert.equal(firstShown(files.slice(0, 2))?.path, "b.csv");
  assert.equal(firstShown(files.slice(3)), undefined);
});
