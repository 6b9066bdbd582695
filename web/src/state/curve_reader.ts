/** Reads the curves that are in view, some of them at a time. */

import { signal, type Signal } from "@preact/signals";
import { isAbort, message, type Http } from "../api/http";
import type { Curve } from "../api/model";
import { batches, type Axis } from "./curves";

export interface CurveQuery {
  runs: readonly string[];
  axis: Axis;
  from: number | undefined;
  to: number | undefined;
  buckets: number;
}

export class CurveReader {
  readonly problem = signal<string | undefined>(undefined);
  readonly #http: Http;
  readonly #query: CurveQuery;
  readonly #curves = new Map<string, Signal<readonly Curve[] | undefined>>();
  /** Metrics in view, and the number of charts that show each. */
  readonly #wanted = new Map<string, number>();
  readonly #due = new Set<string>();
  #reading: AbortController | null = null;

  constructor(http: Http, query: CurveQuery) {
    this.#http = http;
    this.#query = query;
  }

  /** The curves of a metric; `undefined` until they are read. */
  curves(metric: string): Signal<readonly Curve[] | undefined> {
    let found = this.#curves.get(metric);
    if (!found) this.#curves.set(metric, (found = signal(undefined)));
    return found;
  }

  /** Read a metric, and again after each change, until the returned function is called. */
  want(metric: string): () => void {
    this.#wanted.set(metric, (this.#wanted.get(metric) ?? 0) + 1);
    if (this.curves(metric).value === undefined) this.#read([metric]);
    return () => {
      const left = (this.#wanted.get(metric) ?? 1) - 1;
      if (left > 0) this.#wanted.set(metric, left);
      else this.#wanted.delete(metric);
    };
  }

  /** These metrics have new points. Those out of view are read when they come into it. */
  refresh(metrics: readonly string[]): void {
    const shown = metrics.filter((metric) => this.#wanted.has(metric));
    for (const metric of metrics) if (!this.#wanted.has(metric)) this.curves(metric).value = undefined;
    this.#read(shown);
  }

  retry(): void {
    this.problem.value = undefined;
    this.#read([...this.#wanted.keys()]);
  }

  stop(): void {
    this.#due.clear();
    this.#reading?.abort();
  }

  #read(metrics: readonly string[]): void {
    for (const metric of metrics) this.#due.add(metric);
    if (this.#reading || this.#due.size === 0) return;
    this.#reading = new AbortController();
    void this.#readDue(this.#reading.signal).finally(() => (this.#reading = null));
  }

  async #readDue(aborted: AbortSignal): Promise<void> {
    // Charts that are drawn together come into view together.
    await new Promise((resolve) => setTimeout(resolve));
    for (;;) {
      for (const metric of this.#due) if (!this.#wanted.has(metric)) this.#due.delete(metric);
      const [batch] = batches([...this.#due], this.#query.runs.length);
      if (!batch || aborted.aborted) return;
      for (const metric of batch) this.#due.delete(metric);
      try {
        await this.#readBatch(batch, aborted);
        this.problem.value = undefined;
      } catch (error) {
        if (!isAbort(error)) this.problem.value = message(error);
        this.#due.clear();
        return;
      }
    }
  }

  async #readBatch(metrics: readonly string[], aborted: AbortSignal): Promise<void> {
    const { runs, axis, from, to, buckets } = this.#query;
    const query = { run_ids: runs, metrics, axis, buckets, from, to };
    const reply = await this.#http.get<{ curves?: Curve[] }>("/v1/curves", { query, signal: aborted });
    for (const metric of metrics)
      this.curves(metric).value = (reply.curves ?? []).filter((curve) => curve.metric === metric);
  }
}
