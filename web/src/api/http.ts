/** Requests to the server: one function, with the session, the errors and the retries. */

import type { ErrorBody, ErrorCode } from "./model";

/** Query parameters. A list repeats its parameter; an empty or absent value leaves it out. */
export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

/** A failed request. `status` is 0 if no reply arrived. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: ErrorCode | "NO_REPLY";
  readonly traceId: string | undefined;

  constructor(
    message: string,
    status: number,
    code: ErrorCode | "NO_REPLY",
    traceId?: string,
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.traceId = traceId;
  }
}

export interface Options {
  query?: Query;
  /** A value that is sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Whether the body has a key or a code: a 401 is about that, not about the session. */
  hasCredentials?: boolean;
}

const MAX_RETRIES = 3;
const LONGEST_WAIT_MS = 5_000;

export class Http {
  /** Token of the session; `null` without one. */
  token: string | null = null;
  /** Called when the server no longer accepts the session. */
  onUnauthorized: () => void = () => undefined;

  async get<T>(path: string, options: Options = {}): Promise<T> {
    return (await (await this.send("GET", path, options)).json()) as T;
  }

  /** Send a request whose reply is JSON, or empty (204). */
  async call<T>(method: string, path: string, options: Options = {}): Promise<T> {
    const reply = await this.send(method, path, options);
    return (reply.status === 204 ? undefined : await reply.json()) as T;
  }

  /** Send a request and return the reply, whose status is below 400. */
  async send(method: string, path: string, options: Options = {}): Promise<Response> {
    for (let tries = 0; ; tries++) {
      const reply = await this.#fetch(method, path, options);
      if (reply.status < 400) return reply;
      const error = await failure(reply);
      const wait = Number(reply.headers.get("Retry-After")) * 1000;
      // A rejected request was not carried out, so it may be sent again.
      if (error.code === "RATE_LIMITED" && tries < MAX_RETRIES && wait <= LONGEST_WAIT_MS) {
        await pause(Math.max(wait, 200), options.signal);
        continue;
      }
      if (reply.status === 401 && !options.hasCredentials) this.onUnauthorized();
      throw error;
    }
  }

  async #fetch(method: string, path: string, options: Options): Promise<Response> {
    const headers: Record<string, string> = { ...options.headers };
    if (this.token !== null) headers["X-FetchML-Session"] = this.token;
    const init: RequestInit = { method, headers, cache: "no-store", redirect: "error" };
    if (options.body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(options.body);
    }
    if (options.signal) init.signal = options.signal;
    try {
      return await fetch(url(path, options.query), init);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ApiError("No response from the server. Is it running?", 0, "NO_REPLY");
    }
  }
}

/** Return `path` with the query parameters that are set. */
export function url(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === "") continue;
    if (typeof value === "object") for (const one of value) parameters.append(name, one);
    else parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** Whether `error` comes from a request that its own view aborted. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Whether the same request may succeed later: no reply, a busy server, or a fault of it. */
export function mayPass(error: unknown): boolean {
  return !(error instanceof ApiError) || error.status === 0 || error.status === 429 || error.status >= 500;
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function failure(reply: Response): Promise<ApiError> {
  try {
    const body = (await reply.json()) as Partial<ErrorBody>;
    if (typeof body.error === "string" && typeof body.code === "string")
      return new ApiError(body.error, reply.status, body.code, body.trace_id);
  } catch {
    // A proxy's own page.
  }
  const code = reply.status === 401 ? "UNAUTHORIZED" : "INTERNAL_ERROR";
  return new ApiError(`The server answered ${reply.status} ${reply.statusText}`, reply.status, code);
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    });
  });
}
