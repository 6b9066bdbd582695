/** A search of the whole log by the server: matches in the order of the log, and the current one. */

import { batch, signal } from "@preact/signals";
import { isAbort, message, type Http } from "../../../api/http";
import type { LogMatch, LogMatches } from "../../../api/model";
import type { LogWindow } from "./model";

/** Most matches that are listed; more are not counted. */
const MOST = 1_000;
const AT_ONCE = 250;

export class LogSearch {
  readonly query = signal("");
  readonly matches = signal<readonly LogMatch[]>([]);
  readonly index = signal(-1);
  readonly isSearching = signal(false);
  /** Whether there are more matches than are listed. */
  readonly isCut = signal(false);
  readonly problem = signal<string | undefined>(undefined);
  readonly current = signal<LogMatch | undefined>(undefined);

  readonly #http: Http;
  readonly #log: LogWindow;
  #searching = new AbortController();

  constructor(http: Http, log: LogWindow) {
    this.#http = http;
    this.#log = log;
  }

  /**
   * Search for a text from the end of the log to its start, so that the newest match comes first.
   * Resolves with the first match as soon as it is found.
   */
  async start(query: string): Promise<LogMatch | undefined> {
    this.#searching.abort();
    this.#searching = new AbortController();
    batch(() => {
      this.query.value = query;
      this.matches.value = [];
      this.index.value = -1;
      this.current.value = this.problem.value = undefined;
      this.isCut.value = this.isSearching.value = false;
    });
    if (query === "") return undefined;
    this.isSearching.value = true;
    const { signal } = this.#searching;
    return new Promise((resolve) => {
      void this.#run(query, signal, resolve).finally(() => {
        resolve(this.current.value);
        if (signal === this.#searching.signal) this.isSearching.value = false;
      });
    });
  }

  /** Go to the next match towards the start (-1) or the end (1) of the log, around its ends. */
  move(step: -1 | 1): LogMatch | undefined {
    const matches = this.matches.value;
    if (matches.length === 0) return undefined;
    // Matches are in the order of the search: the last of the log first.
    this.#choose((this.index.value - step + matches.length) % matches.length);
    return this.current.value;
  }

  stop(): void {
    this.#searching.abort();
  }

  async #run(
    text: string,
    signal: AbortSignal,
    found: (match: LogMatch) => void,
  ): Promise<void> {
    let offset: number | undefined;
    try {
      do {
        const query = {
          q: text,
          attempt: this.#log.attempt,
          offset,
          limit: AT_ONCE,
          backwards: "1",
          ignore_case: "1",
        };
        const reply = await this.#http.get<LogMatches>(`${this.#log.path}/search`, {
          query,
          signal,
        });
        const isFirst = this.matches.value.length === 0 && reply.matches.length > 0;
        this.matches.value = [...this.matches.value, ...reply.matches].slice(0, MOST);
        if (isFirst) {
          this.#choose(0);
          if (this.current.value) found(this.current.value);
        }
        offset = reply.next_offset;
      } while (offset !== undefined && this.matches.value.length < MOST);
      this.isCut.value = offset !== undefined;
    } catch (error) {
      if (!isAbort(error)) this.problem.value = message(error);
    }
  }

  #choose(index: number): void {
    this.index.value = index;
    this.current.value = this.matches.value[index];
  }
}
