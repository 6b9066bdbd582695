/** What the tests share: tasks, and a world with its own clock and sockets. */

import type { LiveWorld, Socket } from "../src/api/live_socket";
import type { Task } from "../src/api/model";

let made = 0;

/** A task; later ones are newer. */
export function task(fields: Partial<Task> = {}): Task {
  const number = ++made;
  return {
    id: `0190-${String(number).padStart(6, "0")}`,
    job_name: "train",
    status: "queued",
    priority: 5,
    user_id: "ada",
    created_at: new Date(1_700_000_000_000 + number * 1000).toISOString(),
    ...fields,
  };
}

export class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly query: string;
  readonly sent: string[] = [];
  isClosed = false;

  constructor(query: string) {
    this.query = query;
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.isClosed = true;
  }

  receive(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

export class FakeWorld implements LiveWorld {
  sockets: FakeSocket[] = [];
  time = 0;
  isSignedIn = true;
  isHidden = false;
  isFocused = true;
  readonly #undrawn = new Set<() => void>();
  #timers: { at: number; run: () => void }[] = [];

  open(query: string): FakeSocket {
    const socket = new FakeSocket(query);
    this.sockets.push(socket);
    return socket;
  }

  now(): number {
    return this.time;
  }

  later(ms: number, run: () => void): () => void {
    const timer = { at: this.time + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** Frames follow each other 16 ms apart, unless the tab is hidden. */
  frame(run: () => void): () => void {
    if (!this.isHidden) return this.later(16, run);
    this.#undrawn.add(run);
    return () => this.#undrawn.delete(run);
  }

  show(): void {
    this.isHidden = false;
    for (const run of this.#undrawn) this.later(16, run);
    this.#undrawn.clear();
  }

  hasFocus(): boolean {
    return this.isFocused;
  }

  stillSignedIn(): Promise<boolean> {
    return Promise.resolve(this.isSignedIn);
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.#timers.toSorted((one, other) => one.at - other.at)[0];
      if (!next || next.at > end) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.time = next.at;
      next.run();
    }
    this.time = end;
  }
}
