/** The session of the person who is signed in. The key is exchanged for it and then forgotten. */

import { ApiError, type Http } from "./http";
import type { Role } from "./model";

/** A session, as `/ui/session` describes it. */
export interface Session {
  user: string;
  role: Role;
  /** Whether the server hides the tasks of other users. */
  private: boolean;
  /** Where the session lives: in a cookie, or only in the memory of this page. */
  mode: "cookie" | "memory";
  /** Why there is no cookie. */
  reason?: string;
  expires_at: string;
  /** The token of a session in memory; only in the reply to a sign-in. */
  token?: string;
  /** Origin of Jupyter services with `{id}` for a service's id; absent if they share the page's. */
  jupyter_origin?: string;
}

export type Credentials = { key: string } | { code: string };

const PATH = "/ui/session";

/** Return the session that a request of this page presents, if it is valid. */
export async function currentSession(http: Http): Promise<Session | undefined> {
  try {
    const found = await http.get<Partial<Session>>(PATH);
    return found.user === undefined ? undefined : (found as Session);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return undefined;
    throw error;
  }
}

export async function signIn(http: Http, credentials: Credentials): Promise<Session> {
  http.token = null;
  const session = await http.call<Session>("POST", PATH, { body: credentials });
  http.token = session.token ?? null;
  return session;
}

export async function signOut(http: Http): Promise<void> {
  try {
    await http.call("DELETE", PATH);
  } finally {
    http.token = null;
  }
}

/**
 * Take the one-time code out of the address (`#code=…`), so that it stays in no history. The code
 * is valid once and for minutes only.
 */
export function takeCode(): string | undefined {
  const match = /^#\/?(?:sign-in)?\??code=([\w-]+)$/.exec(location.hash);
  if (!match) return undefined;
  history.replaceState(null, "", location.pathname);
  return match[1];
}
