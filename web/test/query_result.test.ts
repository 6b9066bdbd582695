import assert from "node:assert/strict";
import { test } from "node:test";
import { isNumeric, placeOf, toCsv, valueText } from "../src/state/query_result";

test("CSV tells a missing value from an empty text, and quotes what needs it", () => {
  const columns = ["a", "b,c"].map((name) => ({ name, type: "VARCHAR" }));
  const rows = [
    [null, ""],
    ['say "hi"', "two\nlines"],
    [1.5, ["x", 2]],
  ];
  assert.equal(toCsv({ columns, rows }), 'a,"b,c"\r\n,""\r\n"say ""hi""","two\nlines"\r\n1.5,"[""x"",2]"\r\n');
});

test("values of every type have a text", () => {
  assert.deepEqual([null, true, 0, { a: null }].map(valueText), ["", "true", "0", '{"a":null}']);
  const numeric = ["BIGINT", "UTINYINT", "INTEGER", "DOUBLE", "DECIMAL(18,3)", "VARCHAR", "INTEGER[]", "INTERVAL"];
  assert.deepEqual(
    numeric.map((type) => isNumeric({ name: "", type })),
    [true, true, true, true, true, false, false, false],
  );
});

test("an error leads to its place in the query", () => {
  const sql = "SELECT *\nFROM nothing";
  assert.equal(placeOf("Catalog Error: no such table\n\nLINE 2: FROM nothing\n             ^", sql), 14);
  assert.equal(placeOf("Binder Error: something else", sql), undefined);
  assert.equal(placeOf("LINE 9: FROM x\n        ^", sql), sql.length);
});
