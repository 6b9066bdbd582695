import assert from "node:assert/strict";
import { test } from "node:test";
import { pasted, sequenceOf } from "../src/views/task/shell/keys";
import { spansOf } from "../src/views/task/shell/screen";
import { ShellSession, type ShellSocket } from "../src/views/task/shell/session";

const NONE = { ctrlKey: false, altKey: false, shiftKey: false, metaKey: false };
const of = (key: string, modifiers: Partial<typeof NONE> = {}, isApplication = false) =>
  sequenceOf({ key, ...NONE, ...modifiers }, isApplication);

test("keys become the sequences of xterm", () => {
  assert.equal(of("Enter"), "\r");
  assert.equal(of("Backspace", { altKey: true }), "\x1b\x7f");
  assert.equal(of("Tab", { shiftKey: true }), "\x1b[Z");
  assert.equal(of("ArrowUp"), "\x1b[A");
  assert.equal(of("ArrowUp", {}, true), "\x1bOA");
  assert.equal(of("ArrowLeft", { ctrlKey: true }, true), "\x1b[1;5D");
  assert.equal(of("F1"), "\x1bOP");
  assert.equal(of("F12", { shiftKey: true }), "\x1b[24;2~");
  assert.equal(of("PageUp"), "\x1b[5~");
  assert.equal(of("c", { ctrlKey: true }), "\x03");
  assert.equal(of("[", { ctrlKey: true }), "\x1b");
  assert.equal(of("b", { altKey: true }), "\x1bb");
});

test("texts, and the browser's own keys, are left to the browser", () => {
  for (const [key, modifiers] of [
    ["a", {}],
    ["ä", {}],
    ["Shift", { shiftKey: true }],
    ["v", { ctrlKey: true, shiftKey: true }],
    ["r", { metaKey: true }],
    ["1", { ctrlKey: true }],
  ] as const)
    assert.equal(of(key, modifiers), undefined, key);
});

test("a pasted text cannot leave its brackets", () => {
  assert.equal(pasted("a\r\nb\nc", false), "a\rb\rc");
  assert.equal(pasted("a\x1b[201~rm -rf /\n", true), "\x1b[200~a[201~rm -rf /\r\x1b[201~");
});

class FakeSocket implements ShellSocket {
  binaryType = "";
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly sent: string[] = [];
  isClosed = false;

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push(typeof data === "string" ? data : new TextDecoder().decode(data));
  }

  close(): void {
    this.isClosed = true;
  }
}

function session(): { socket: FakeSocket; session: ShellSession } {
  const socket = new FakeSocket();
  const made = new ShellSession(() => socket, 4, 20);
  socket.onopen?.();
  return { socket, session: made };
}

/** Let the terminal parse what was received. */
async function write(socket: FakeSocket, made: ShellSession, text: string): Promise<void> {
  socket.onmessage?.({ data: new TextEncoder().encode(text).buffer });
  await new Promise<void>((resolve) => made.terminal.write("", resolve));
}

test("lines are spans with classes of the log", async () => {
  const { socket, session: made } = session();
  await write(socket, made, "\x1b[1;31mred\x1b[0m 世 <b>\x1b[38;5;196mx\x1b[48;2;0;0;0my");
  assert.deepEqual(spansOf(made.terminal, 0), [
    { text: "red", classes: "sgr-bold sgr-fg-1" },
    { text: " 世 <b>", classes: "" },
    { text: "x", classes: "sgr-fg-9" },
    { text: "y", classes: "sgr-fg-9 sgr-bg-0" },
  ]);
  assert.deepEqual(spansOf(made.terminal, 1, 2), [
    { text: "  ", classes: "" },
    { text: " ", classes: "shell-cursor" },
  ]);
  made.close();
});

test("programs are answered, sizes are sent, and what was shown is reported", async () => {
  const { socket, session: made } = session();
  await write(socket, made, "ab\x1b[6n");
  assert.deepEqual(socket.sent.splice(0), ["\x1b[1;3R"]);
  made.resize(4, 20);
  made.resize(40, 120);
  assert.deepEqual(socket.sent.splice(0), ['{"type":"resize","rows":40,"columns":120}']);
  await write(socket, made, "x".repeat(70_000));
  assert.deepEqual(socket.sent.splice(0), ['{"type":"shown","bytes":70006}']);
  made.type("y".repeat(40_000));
  assert.deepEqual(socket.sent.map((text) => text.length), [32_768, 7_232]);
  made.close();
  assert.ok(socket.isClosed);
});

test("the reason of the end is shown", () => {
  const ends = [
    ['{"type":"exit","code":3,"error":""}', 1000, "", "The shell ended with exit code 3."],
    ['{"type":"exit","code":127,"error":"No such file"}', 1000, "", "No such file"],
    [undefined, 1001, "The session ended with its task", "The session ended with its task."],
    [undefined, 1006, "", "The connection was lost, and the shell with it."],
  ] as const;
  for (const [exit, code, reason, why] of ends) {
    const { socket, session: made } = session();
    if (exit) socket.onmessage?.({ data: exit });
    socket.onclose?.({ code, reason });
    assert.deepEqual(made.state.value, { kind: "ended", why });
    made.type("nothing is sent any more");
    assert.deepEqual(socket.sent, []);
    made.close();
  }
});
