/**
 * The live connection: the changes of the tasks over `/ws`, in batches that the server makes a few
 * times a second. What they change is drawn with the browser's next frame, so a hidden tab draws
 * nothing; while much changes, twice a second. A server on which too much changes sends a `resync`
 * instead of a batch: the page then reads again what it shows, for a twentieth of the time at most.
 *
 * A new connection asks for changes after a `seq` that no server reaches. The server answers with a
 * `resync` that carries its current `seq`: a point from which nothing is missed, reached before the
 * first read over REST. A connection that is cut is opened again, after a pause that grows, and
 * continues after the last `seq`.
 */

import type { LiveMessage, Task } from "./model";

export interface Change {
  task: Task;
  deleted: boolean;
}

export type LiveState =
  | { kind: "off" }
  | { kind: "connecting" }
  | { kind: "live" }
  /** `since`: when the connection was lost, in ms. */
  | { kind: "lost"; since: number };

export interface LiveEvents {
  /** Changes in order, the newest of each task only. */
  changed(changes: Change[]): void;
  /** Everything must be read again. Returns false if some of it could not be. */
  resync(): Promise<boolean>;
  state(state: LiveState): void;
  /** The server ended the session. */
  refused(): void;
}

export interface LiveWorld {
  open(query: string): Socket;
  now(): number;
  later(ms: number, run: () => void): () => void;
  /** Whether this is the window that a person works in. */
  hasFocus(): boolean;
  /** Run it before the next frame is drawn; of a hidden tab none is. */
  frame(run: () => void): () => void;
  /** Whether the session is still valid; asked after a connection that did not open. */
  stillSignedIn(): Promise<boolean>;
}

/** The part of WebSocket that is used. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

export const NOW = Number.MAX_SAFE_INTEGER;
/** Changed tasks that a hidden tab keeps. With more it reads again what it shows. */
const MOST_WAITING = 1_000;
/** With more changes than this at once, nobody can read each: the next ones are drawn later. */
export const MANY_CHANGES = 20;
const CALM_DRAWING_MS = 500;
/** Shortest time from one complete reading to the next, and in multiples of its own time. */
const CALM_MS = 4_000;
/** The same of a window that is visible and that nobody works in. */
const CALM_BESIDE_MS = 10_000;
const CALM_READINGS = 20;
const LONGEST_CALM_MS = 20_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;
/** The server pings every 20 s: a silence of this length is a dead connection. */
const SILENCE_MS = 50_000;
/** A tab that nobody sees lets its connection go after this time: each costs the server work. */
const HIDDEN_MS = 30_000;
const POLICY_VIOLATION = 1008;

export class Live {
  readonly #world: LiveWorld;
  readonly #events: LiveEvents;
  #socket: Socket | null = null;
  #since = NOW;
  #wait = FIRST_WAIT_MS;
  #lostAt: number | null = null;
  #waiting = new Map<string, Change>();
  #cancelFrame: (() => void) | null = null;
  /** Until when nothing is drawn, in ms. */
  #stillUntil = 0;
  /** The reading under way, which a `stop` makes void. */
  #reading: object | null = null;
  /** Whether everything must be read once more. */
  #again = false;
  /** When the last complete reading ended, in ms, and the time that it took. */
  #lastRead = { at: -Infinity, took: 0 };
  #cancelReading: (() => void) | null = null;
  #cancelRetry: (() => void) | null = null;
  #cancelSilence: (() => void) | null = null;
  #cancelRest: (() => void) | null = null;
  #isResting = false;
  #opened = false;

  constructor(world: LiveWorld, events: LiveEvents) {
    this.#world = world;
    this.#events = events;
  }

  start(): void {
    this.stop();
    this.#since = NOW;
    this.#wait = FIRST_WAIT_MS;
    this.#events.state({ kind: "connecting" });
    this.#connect();
  }

  stop(): void {
    this.#disconnect();
    this.#cancelFrame?.();
    this.#cancelRest?.();
    this.#cancelReading?.();
    this.#cancelFrame = this.#cancelRest = this.#cancelReading = null;
    this.#isResting = this.#again = false;
    this.#reading = null;
    this.#lastRead = { at: -Infinity, took: 0 };
    this.#stillUntil = 0;
    this.#waiting.clear();
    this.#lostAt = null;
    this.#events.state({ kind: "off" });
  }

  /** Try again at once: the network is back, or the tab is visible again. */
  hurry(): void {
    this.#cancelRest?.();
    this.#cancelRest = null;
    if (this.#isResting) {
      this.#isResting = false;
      this.#connect();
    }
    if (this.#cancelRetry === null) return;
    this.#cancelRetry();
    this.#cancelRetry = null;
    this.#connect();
  }

  /** The window has the focus now: what it shows may be too old for that. */
  focus(): void {
    if (this.#cancelReading === null) return;
    this.#cancelReading();
    this.#cancelReading = null;
    this.#readAgain();
  }

  /** The tab is hidden: after a while let the connection go until `hurry`, and continue then. */
  rest(): void {
    if (this.#cancelRest !== null || this.#isResting) return;
    this.#cancelRest = this.#world.later(HIDDEN_MS, () => {
      this.#cancelRest = null;
      if (this.#socket === null && this.#cancelRetry === null) return;
      this.#disconnect();
      this.#isResting = true;
      this.#events.state({ kind: "connecting" });
    });
  }

  #connect(): void {
    this.#opened = false;
    const socket = this.#world.open(`view=full&batch=1&since=${this.#since}`);
    this.#socket = socket;
    socket.onopen = () => {
      this.#opened = true;
      this.#heard();
      if (this.#since !== NOW) this.#isLive();
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => void this.#closed(socket, event.code);
  }

  #isLive(): void {
    this.#wait = FIRST_WAIT_MS;
    this.#lostAt = null;
    this.#events.state({ kind: "live" });
  }

  #receive(data: unknown): void {
    this.#heard();
    const message = JSON.parse(String(data)) as LiveMessage;
    if (message.seq !== undefined) this.#since = message.seq;
    switch (message.type) {
      case "ping":
        this.#socket?.send('{"type":"pong"}');
        break;
      case "resync":
        this.#isLive();
        this.#readAgain();
        break;
      case "task_batch":
        for (const task of message.tasks ?? []) this.#keep(task, false);
        for (const task of message.deleted ?? []) this.#keep(task, true);
        if (this.#waiting.size > MOST_WAITING) this.#readAgain();
        this.#cancelFrame ??= this.#drawSoon();
        break;
    }
  }

  #keep(task: Task, deleted: boolean): void {
    // Last in the map: batches keep the order of the newest changes.
    this.#waiting.delete(task.id);
    this.#waiting.set(task.id, { task, deleted });
  }

  #drawSoon(): () => void {
    const frame = () => this.#world.frame(() => this.#draw());
    const wait = this.#stillUntil - this.#world.now();
    if (wait <= 0) return frame();
    return this.#world.later(wait, () => {
      this.#cancelFrame = frame();
    });
  }

  #draw(): void {
    this.#cancelFrame = null;
    const changes = [...this.#waiting.values()];
    this.#waiting.clear();
    if (changes.length > MANY_CHANGES) this.#stillUntil = this.#world.now() + CALM_DRAWING_MS;
    if (changes.length > 0) this.#events.changed(changes);
  }

  /** Read everything now, or as soon as the last reading is over and the server had some calm. */
  #readAgain(): void {
    this.#waiting.clear(); // What is read later has these changes.
    this.#again = true;
    if (this.#reading !== null || this.#cancelReading !== null) return;
    const wait = this.#lastRead.at + this.#calm() - this.#world.now();
    if (wait <= 0) void this.#read();
    else this.#cancelReading = this.#world.later(wait, () => void this.#read());
  }

  async #read(): Promise<void> {
    const begun = this.#world.now();
    this.#cancelReading = null;
    this.#again = false;
    const reading = (this.#reading = {});
    const isDone = await this.#events.resync();
    if (this.#reading !== reading) return;
    // The changes before it are in no later batch.
    if (!isDone) this.#again = true;
    this.#reading = null;
    const now = this.#world.now();
    this.#lastRead = { at: now, took: now - begun };
    if (this.#again) this.#readAgain();
  }

  /** Time without a reading after the last one, in ms. */
  #calm(): number {
    const least = this.#world.hasFocus() ? CALM_MS : CALM_BESIDE_MS;
    return Math.min(Math.max(least, CALM_READINGS * this.#lastRead.took), LONGEST_CALM_MS);
  }

  #heard(): void {
    this.#cancelSilence?.();
    this.#cancelSilence = this.#world.later(SILENCE_MS, () => this.#lose());
  }

  async #closed(socket: Socket, code: number): Promise<void> {
    if (socket !== this.#socket) return;
    if (code === POLICY_VIOLATION || !this.#opened) {
      this.#socket = null;
      if (!(await this.#world.stillSignedIn())) {
        this.stop();
        this.#events.refused();
        return;
      }
      if (this.#socket !== null) return;
    }
    this.#lose();
  }

  #lose(): void {
    this.#drop();
    this.#cancelSilence?.();
    this.#cancelSilence = null;
    this.#lostAt ??= this.#world.now();
    this.#events.state({ kind: "lost", since: this.#lostAt });
    this.#cancelRetry?.();
    this.#cancelRetry = this.#world.later(this.#wait, () => {
      this.#cancelRetry = null;
      this.#connect();
    });
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
  }

  /** Without another attempt. */
  #disconnect(): void {
    this.#drop();
    this.#cancelRetry?.();
    this.#cancelSilence?.();
    this.#cancelRetry = this.#cancelSilence = null;
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
