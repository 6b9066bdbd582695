/**
 * The token of the session, where a cookie belongs to it: in the origin's storage, which its tabs
 * share. Browsers send a cookie to every port of its host, and show the storage to one port only.
 * Neither of the two is worth anything without the other.
 */

const PLACE = "fetchml.session";

export function keptToken(): string | null {
  try {
    return localStorage.getItem(PLACE);
  } catch {
    return null; // A browser that stores nothing: the session is in this page only.
  }
}

export function keepToken(token: string): void {
  try {
    localStorage.setItem(PLACE, token);
  } catch {
    // As above.
  }
}

/** Forget `token`, but not the one of another tab that has signed in since. */
export function forgetToken(token: string | null): void {
  if (token !== null && keptToken() === token) localStorage.removeItem(PLACE);
}
