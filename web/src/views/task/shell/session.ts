/** One shell in a task: the terminal's state, and the WebSocket that feeds it. */

import { signal } from "@preact/signals";
import { Terminal } from "@xterm/headless";
import { plain } from "../../../format";

/** Lines that can be scrolled back to. */
const SCROLLBACK = 1_000;
/** Largest input in one message. */
const PIECE = 32 * 1024;
/** Output that is reported as shown at once. */
const REPORTED = 64 * 1024;
const NORMAL_CLOSE = 1000;

/** The part of WebSocket that is used. */
export interface ShellSocket {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export type ShellState =
  | { kind: "connecting" }
  | { kind: "open" }
  /** `why`: a sentence for the user. */
  | { kind: "ended"; why: string };

export class ShellSession {
  readonly state = signal<ShellState>({ kind: "connecting" });
  /** Counts the changes of the screen. */
  readonly version = signal(0);
  readonly terminal: Terminal;
  readonly #socket: ShellSocket;
  readonly #encoder = new TextEncoder();
  #shown = 0;
  #exit: string | undefined;

  constructor(open: (rows: number, columns: number) => ShellSocket, rows: number, columns: number) {
    this.terminal = new Terminal({ rows, cols: columns, scrollback: SCROLLBACK, allowProposedApi: true });
    this.terminal.onWriteParsed(() => this.version.value++);
    // The terminal answers programs that ask it for its kind, or for the cursor's place.
    this.terminal.onData((text) => this.type(text));
    const socket = open(rows, columns);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.state.value = { kind: "open" };
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
    this.#socket = socket;
  }

  /** Send what was typed or pasted. */
  type(text: string): void {
    if (this.state.value.kind !== "open") return;
    const bytes = this.#encoder.encode(text);
    for (let at = 0; at < bytes.length; at += PIECE) this.#socket.send(bytes.slice(at, at + PIECE));
  }

  resize(rows: number, columns: number): void {
    if (rows === this.terminal.rows && columns === this.terminal.cols) return;
    this.terminal.resize(columns, rows);
    this.version.value++;
    if (this.state.value.kind === "open")
      this.#socket.send(JSON.stringify({ type: "resize", rows, columns }));
  }

  close(): void {
    this.#socket.close();
    this.terminal.dispose();
  }

  #receive(data: unknown): void {
    if (typeof data === "string") {
      const end = JSON.parse(data) as { code: number; error: string };
      this.#exit = end.error === "" ? `The shell ended with exit code ${end.code}.` : plain(end.error);
      return;
    }
    const bytes = new Uint8Array(data as ArrayBuffer);
    this.terminal.write(bytes, () => this.#hasShown(bytes.length));
  }

  #hasShown(size: number): void {
    this.#shown += size;
    if (this.#shown < REPORTED || this.state.value.kind !== "open") return;
    this.#socket.send(JSON.stringify({ type: "shown", bytes: this.#shown }));
    this.#shown = 0;
  }

  #ended(code: number, reason: string): void {
    const lost = "The connection was lost, and the shell with it.";
    const why = this.#exit ?? (reason === "" ? lost : `${plain(reason)}.`);
    this.state.value = {
      kind: "ended",
      why: this.#exit === undefined && code === NORMAL_CLOSE ? "The shell was ended." : why,
    };
  }
}
