import assert from "node:assert/strict";
import { test } from "node:test";
import { url } from "../src/api/http";
import { fromQuery, matcher, toApi } from "../src/filters";
import { href, parse } from "../src/router";
import { task } from "./world";

const filter = (query: string, user?: string) => fromQuery(new URLSearchParams(query), user);

test("the default user applies until the address names one or everyone", () => {
  assert.equal(filter("", "ada").user, "ada");
  assert.equal(filter("user=eve", "ada").user, "eve");
  assert.equal(filter("user=*", "ada").user, undefined);
});

test("unknown states in the address are left out", () => {
  assert.deepEqual(filter("status=queued,<script>,failed").states, ["queued", "failed"]);
});

test("the filter becomes a query of the API", () => {
  const query = toApi(filter("status=queued,failed&q=a b&label=lr=0.1&label=gpu&name=vit"));
  assert.equal(
    url("/v1/tasks", query),
    "/v1/tasks?states=queued%2Cfailed&job_name_prefix=vit&text=a+b&labels=lr%3D0.1&labels=gpu",
  );
});

test("tasks match by state, user, name, label, text and time", () => {
  const one = task({
    job_name: "vit-large",
    status: "failed",
    error: "Out of Memory",
    metadata: { lr: "0.1" },
  });
  const at = one.created_at;
  const later = new Date(Date.parse(at) + 1).toISOString();
  for (const [query, expected] of [
    ["status=failed", true],
    ["status=queued", false],
    ["user=ada", true],
    ["user=eve", false],
    ["name=vit", true],
    ["name=large", false],
    ["q=out+of", true],
    ["q=exit", false],
    ["label=lr", true],
    ["label=lr=0.1", true],
    ["label=lr=0.2", false],
    ["label=toString", false],
    [`after=${at}`, true],
    [`after=${later}`, false],
    [`before=${later}`, true],
    [`before=${at}`, false],
  ] as const)
    assert.equal(matcher(filter(query))(one), expected, query);
});

test("an address keeps every character of its parts", () => {
  const address = href(["tasks", "a/b?c#d é"], { q: "x&y=1", label: ["a=1", "b"] });
  const [path, search] = address.split("?") as [string, string];
  const found = parse(path, search);
  assert.deepEqual(found.parts, ["tasks", "a/b?c#d é"]);
  assert.equal(found.query.get("q"), "x&y=1");
  assert.deepEqual(found.query.getAll("label"), ["a=1", "b"]);
});
