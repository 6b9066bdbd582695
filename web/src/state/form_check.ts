/** Checks a form with the server's own rules while it is filled in. */

import { batch, signal } from "@preact/signals";
import { ApiError, isAbort, message } from "../api/http";

/** How long a person pauses before a check. */
const PAUSE_MS = 350;

/**
 * `Request` is what is checked, `Accepted` what the server would make of it. Only the reply to the
 * last request counts.
 */
export class FormCheck<Request, Accepted> {
  /** The rule that each wrong field breaks, in the server's words. */
  readonly errors = signal<ReadonlyMap<string, string>>(new Map());
  /** The error that concerns no single field. */
  readonly problem = signal<string | undefined>(undefined);
  /** The answer to the newest request; `undefined` while it is not accepted. */
  readonly accepted = signal<Accepted | undefined>(undefined);
  readonly isChecking = signal(false);

  readonly #ask: (request: Request, signal: AbortSignal) => Promise<Accepted>;
  readonly #fields: (text: string) => ReadonlyMap<string, string>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking: AbortController | undefined;

  /** `fields` splits an error into the rule of each field. */
  constructor(
    ask: (request: Request, signal: AbortSignal) => Promise<Accepted>,
    fields: (text: string) => ReadonlyMap<string, string>,
  ) {
    this.#ask = ask;
    this.#fields = fields;
  }

  /** Check this request once nothing newer came for a moment. */
  soon(request: Request): void {
    this.stop();
    this.isChecking.value = true;
    this.#timer = setTimeout(() => void this.now(request), PAUSE_MS);
  }

  async now(request: Request): Promise<void> {
    this.stop();
    const asking = new AbortController();
    this.#asking = asking;
    this.isChecking.value = true;
    try {
      const accepted = await this.#ask(request, asking.signal);
      if (this.#asking === asking) this.#show(accepted);
    } catch (error) {
      if (this.#asking === asking && !isAbort(error)) this.failed(error);
    } finally {
      if (this.#asking === asking) this.isChecking.value = false;
    }
  }

  /** Show why the server refused a request. */
  failed(error: unknown): void {
    const text = message(error);
    const errors =
      error instanceof ApiError && error.code === "VALIDATION_ERROR"
        ? this.#fields(text)
        : new Map<string, string>();
    batch(() => {
      this.errors.value = errors;
      this.problem.value = errors.size > 0 ? undefined : text;
      this.accepted.value = undefined;
    });
  }

  /** End what is under way. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = undefined;
  }

  #show(accepted: Accepted): void {
    batch(() => {
      this.errors.value = new Map();
      this.problem.value = undefined;
      this.accepted.value = accepted;
    });
  }
}
