/** The session of the person who is signed in. The key is exchanged for it and then forgotten. */

import { ApiError, type Http } from "./http";
import { keepToken } from "./kept_token";
import type { Role } from "./model";

/** A session, as `/ui/session` describes it. */
export interface Session {
  user: string;
  role: Role;
  /** Whether the server hides the tasks of other users. */
  private: boolean;
  /** Where the session lives: in a cookie and a kept token, or only in the memory of this page. */
  mode: "cookie" | "memory";
  /** Why there is no cookie. */
  reason?: string;
  expires_at: string;
  /** The session's token; only in the reply to a sign-in. */
  token?: string;
  /** Origin of Jupyter services with `{id}` for a service's id; absent if they share the page's. */
  jupyter_origin?: string;
}

export type Credentials = { key: string } | { code: string };

/** The account that a one-time code signs in to. */
export interface CodeOwner {
  user: string;
  role: Role;
}

const PATH = "/ui/session";

/** Return the session that a request of this page presents, if it is valid. */
export async function currentSession(http: Http): Promise<Session | undefined> {
  if (http.token === null) return undefined;
  try {
    const found = await http.get<Partial<Session>>(PATH);
    return found.user === undefined ? undefined : (found as Session);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return undefined;
    throw error;
  }
}

/** Return the owner of a code, which stays valid. */
export function codeOwner(http: Http, code: string): Promise<CodeOwner> {
  return http.call<CodeOwner>("POST", `${PATH}/code`, { body: { code }, hasCredentials: true });
}

/** Sign in; this ends the session that there is. */
export async function signIn(http: Http, credentials: Credentials): Promise<Session> {
  const options = { body: credentials, hasCredentials: true };
  const session = await http.call<Session>("POST", PATH, options);
  http.token = session.token ?? null;
  // The reply has cleared what this origin stores, so it is kept only now.
  if (http.token !== null && session.mode === "cookie") keepToken(http.token);
  return session;
}

export async function signOut(http: Http): Promise<void> {
  await http.call("DELETE", PATH);
}

/** Return a ticket, with which the browser itself may read `path` once, within a minute. */
export async function linkTicket(http: Http, path: string): Promise<string> {
  const reply = await http.call<{ ticket: string }>("POST", `${PATH}/tickets`, { body: { path } });
  return reply.ticket;
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
