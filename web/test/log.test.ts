import assert from "node:assert/strict";
import { test } from "node:test";
import { Http } from "../src/api/http";
import { BLOCK_BYTES, blockOf, MOST_LINES, textOf } from "../src/views/task/log/blocks";
import { LogWindow } from "../src/views/task/log/model";
import { LogSearch } from "../src/views/task/log/search";
import { afterReturns, parseLine, PLAIN } from "../src/views/task/log/sgr";
import { timeAt } from "../src/views/task/log/times";

const ESC = "\u001b";
const spans = (line: string) => parseLine(line, PLAIN).spans;
const encoded = (text: string) => new TextEncoder().encode(text);

test("colours become spans with classes, and carry on to the next line", () => {
  const line = parseLine(`${ESC}[1;31mred${ESC}[0m plain ${ESC}[42mon green`, PLAIN);
  assert.deepEqual(line.spans, [
    { text: "red", classes: "sgr-bold sgr-fg-1" },
    { text: " plain ", classes: "" },
    { text: "on green", classes: "sgr-bg-2" },
  ]);
  assert.equal(parseLine("next", line.style).spans[0]?.classes, "sgr-bg-2");
});

test("colours of 256 and of red, green, blue become the nearest of sixteen", () => {
  for (const [codes, classes] of [
    ["38;5;9", "sgr-fg-9"],
    ["38;5;196", "sgr-fg-9"],
    ["38;5;255", "sgr-fg-7"],
    ["48;2;0;0;250", "sgr-bg-4"],
    ["38:5:2", "sgr-fg-2"],
    ["38;5;999", ""],
    ["38", ""],
    ["38;5;1;4", "sgr-underline sgr-fg-1"],
  ] as const)
    assert.equal(spans(`${ESC}[${codes}mx`)[0]?.classes, classes, codes);
});

test("everything else that controls a terminal or the direction is left out", () => {
  const hostile = `a${ESC}[2J${ESC}]0;title\u0007b${ESC}]8;;http://x${ESC}\\c${ESC}(Bd\u0000\u0008\u202ee${ESC}[?25lf${ESC}Pq${ESC}\\g\u009bh`;
  assert.deepEqual(
    spans(hostile).map((span) => span.text),
    ["abcdefgh"],
  );
});

test("hostile lines take no time", () => {
  const from = performance.now();
  for (const piece of [`${ESC}[`, `${ESC}]0;`, `${ESC}[1m`, `${ESC}[38;5;`, ESC, "0;"])
    parseLine(piece.repeat(50_000), PLAIN);
  assert.ok(performance.now() - from < 60_000);
});

test("a carriage return shows the last state of a line", () => {
  assert.equal(afterReturns("0%\r50%\r100%"), "100%");
  assert.equal(afterReturns("0%\r100%\r"), "100%");
  assert.equal(afterReturns("plain"), "plain");
});

test("a block has whole lines with their offsets", () => {
  const block = blockOf(encoded("tail\none\ntwo\nhalf"), 100, "first", false, false);
  assert.deepEqual(
    block.lines.map((line) => [line.offset, textOf(line)]),
    [
      [105, "one"],
      [109, "two"],
    ],
  );
  assert.deepEqual([block.from, block.to, block.open], [105, 113, undefined]);
  const last = blockOf(encoded("one\nhalf"), 0, "last", true, true);
  assert.equal(last.open, 4);
});

test("a block keeps the side that the reader goes on from", () => {
  const text = encoded(Array.from({ length: 3 * MOST_LINES }, (_, line) => `${line}\n`).join(""));
  const first = blockOf(text, 0, "first", true, true);
  const last = blockOf(text, 0, "last", true, true);
  assert.equal(first.lines.length, MOST_LINES);
  assert.equal(last.lines.length, MOST_LINES);
  assert.equal(textOf(first.lines[0] as never), "0");
  assert.equal(last.to, text.length);
  assert.ok(first.to < text.length);
});

test("an endless line is cut into rows", () => {
  const block = blockOf(encoded("x".repeat(BLOCK_BYTES)), 0, "first", true, false);
  assert.ok(block.lines.length > 1);
  assert.equal(block.to, BLOCK_BYTES);
});

/** A server with this log. */
class LogServer {
  first = 0;
  text: string;
  requests: string[] = [];

  constructor(text: string) {
    this.text = text;
    globalThis.fetch = (input) => Promise.resolve(this.#answer(new URL(String(input), "http://x")));
  }

  #answer({ pathname, searchParams: query }: URL): Response {
    this.requests.push(pathname + (query.get("offset") ?? ""));
    const bytes = encoded(this.text);
    const end = bytes.length;
    if (pathname.endsWith("/info")) {
      const bounds = { attempt: 1, attempts: 1, offset: this.first, end };
      return Response.json({ ...bounds, may_grow: true, times: [] });
    }
    if (pathname.endsWith("/search")) {
      const before = Number(query.get("offset") ?? end);
      const at = this.text.slice(0, before).lastIndexOf(query.get("q") ?? "");
      const matches = at < 0 ? [] : [{ offset: at, line_offset: at, text: "" }];
      return Response.json({ attempt: 1, matches, ...(at > 0 ? { next_offset: at } : {}) });
    }
    const from = Math.max(Number(query.get("offset")), this.first);
    return new Response(bytes.slice(from, from + Number(query.get("limit"))), {
      headers: { "X-FetchML-Log-Offset": String(from), "X-FetchML-Log-End": String(end) },
    });
  }
}

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, line) => `line ${from + line}\n`).join("");
const shown = (log: LogWindow) =>
  log.blocks.value.flatMap((block) => block.lines.map((line) => textOf(line)));
const opened = (text: string) => {
  const server = new LogServer(text);
  return { server, log: new LogWindow(new Http(), "id", undefined) };
};

test("a log opens at its end with one read of a bounded part", async () => {
  const { server, log } = opened(numbered(0, 200_000));
  await log.showEnd();
  assert.equal(shown(log).at(-1), "line 199999");
  assert.equal(server.requests.length, 2);
  assert.ok(shown(log).length <= MOST_LINES);
  assert.ok(log.isAtEnd);
});

test("going up and down again shows every line once, and holds few", async () => {
  const { log } = opened(numbered(0, 60_000));
  await log.showEnd();
  for (let step = 0; step < 30; step++) await log.before();
  const lines = shown(log).map((line) => Number(line.slice(5)));
  assert.ok(lines.every((line, index) => index === 0 || line === (lines[index - 1] as number) + 1));
  assert.ok(log.blocks.value.length <= 6);
  while (!log.isAtEnd) await log.after();
  assert.equal(shown(log).at(-1), "line 59999");
});

test("a growing log is followed, and a progress bar stays one line", async () => {
  const { server, log } = opened("start\n10%");
  await log.showEnd();
  assert.deepEqual(shown(log), ["start", "10%"]);
  server.text += "\r50%";
  await log.refreshInfo();
  await log.after();
  assert.deepEqual(shown(log), ["start", "50%"]);
  server.text += "\r100%\ndone\n";
  await log.after();
  assert.deepEqual(shown(log), ["start", "100%", "done"]);
  assert.equal(log.blocks.value.length, 1);
});

test("bytes that were dropped meanwhile leave no false neighbours", async () => {
  const { server, log } = opened(numbered(0, 100));
  await log.showEnd();
  server.text += numbered(100, 50_000);
  server.first = server.text.indexOf("line 40000");
  await log.after();
  assert.equal(shown(log)[0], "line 40000");
});

test("a search finds the newest match first and moves around the ends", async () => {
  const { log } = opened("needle 1\nhay\nneedle 2\nhay\nneedle 3\n");
  await log.showEnd();
  const search = new LogSearch(new Http(), log);
  const first = await search.start("needle");
  assert.equal(first?.offset, 26);
  while (search.isSearching.value) await new Promise(setImmediate);
  assert.equal(search.matches.value.length, 3);
  assert.equal(search.move(-1)?.offset, 13);
  assert.equal(search.move(-1)?.offset, 0);
  assert.equal(search.move(-1)?.offset, 26);
  assert.equal(search.move(1)?.offset, 0);
  assert.equal(await search.start("absent"), undefined);
});

test("a line has the time of the last record before it", () => {
  const times = [
    { at: "2020-01-02T10:00:00Z", offset: 10 },
    { at: "2020-01-02T10:00:05Z", offset: 30 },
    { at: "not a time", offset: 50 },
  ];
  assert.equal(timeAt(times, 5), "");
  assert.match(timeAt(times, 29), /:00$/);
  assert.match(timeAt(times, 30), /:05$/);
  assert.equal(timeAt(times, 60), "");
});
