/** A value of the server that is read over REST, and read again when it may have changed. */

import { signal, type ReadonlySignal } from "@preact/signals";
import { isAbort, message } from "../api/http";

/** Shortest time between two reads that changes cause, and that many changes cause. */
const CALM_MS = 1_000;
const CALM_OF_MANY_MS = 4_000;
/** The same in multiples of the time that the last read took: a busy server is asked less often. */
const CALM_READS = 10;

export class Resource<T> {
  readonly #read: (signal: AbortSignal) => Promise<T>;
  readonly #data = signal<T | undefined>(undefined);
  readonly #error = signal<string | undefined>(undefined);
  #reading: AbortController | null = null;
  #again = false;
  #readAt = 0;
  #took = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #users = 0;

  constructor(read: (signal: AbortSignal) => Promise<T>) {
    this.#read = read;
  }

  /** The newest value; `undefined` until the first reply. */
  get data(): ReadonlySignal<T | undefined> {
    return this.#data;
  }

  /** Why the last read failed. An older value stays. */
  get error(): ReadonlySignal<string | undefined> {
    return this.#error;
  }

  /** Keep the value fresh until the returned function is called. `every`: also read so often (ms). */
  use(every?: number): () => void {
    this.#users++;
    void this.refresh();
    const timer =
      every === undefined
        ? undefined
        : setInterval(() => {
            if (document.visibilityState === "visible") void this.refresh();
          }, every);
    return () => {
      this.#users--;
      clearInterval(timer);
    };
  }

  /** The value may have changed: read it soon, if anyone looks at it; less soon if so much changes. */
  touch(areMany = false): void {
    if (this.#users === 0 || this.#timer !== undefined) return;
    const calm = Math.max(areMany ? CALM_OF_MANY_MS : CALM_MS, CALM_READS * this.#took);
    const wait = Math.max(0, this.#readAt + calm - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.refresh();
    }, wait);
  }

  /** Read the value now. A read that is under way is followed by another one. */
  async refresh(): Promise<void> {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    do {
      this.#again = false;
      this.#readAt = Date.now();
      const reading = new AbortController();
      this.#reading = reading;
      try {
        this.#data.value = await this.#read(reading.signal);
        this.#error.value = undefined;
        this.#took = Date.now() - this.#readAt;
      } catch (error) {
        if (!isAbort(error)) this.#error.value = message(error);
      } finally {
        if (this.#reading === reading) this.#reading = null;
      }
    } while (this.#again);
  }

  /** Set a value that a reply of another request carried. */
  set(value: T): void {
    this.#data.value = value;
  }

  /** Forget the value: another user may sign in. */
  clear(): void {
    this.#reading?.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#again = false;
    this.#data.value = this.#error.value = undefined;
  }
}
