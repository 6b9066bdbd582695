/** Downloads of files that need the session. */

import { announce } from "../ui/notes";
import { store } from "../state/store";
import { message, url, type Query } from "./http";
import { linkTicket } from "./session";

/** Types that a browser shows as what they are; none of them is HTML or SVG. */
export async function readBlob(path: string, type: string, signal: AbortSignal): Promise<Blob> {
  const reply = await store.http.send("GET", path, { signal });
  return new Blob([await reply.arrayBuffer()], { type });
}

/** Save a file of the server. The browser does it, with a ticket: it sends no header of the page. */
export async function downloadFile(path: string, name: string, query: Query = {}): Promise<void> {
  try {
    const whole = url(path, query);
    const ticket = await linkTicket(store.http, whole);
    const link = document.createElement("a");
    link.href = `${whole}${whole.includes("?") ? "&" : "?"}fetchml-ticket=${ticket}`;
    link.download = safeName(name);
    document.body.append(link);
    link.click();
    link.remove();
  } catch (error) {
    announce(`${name}: ${message(error)}`, "problem");
  }
}

/** By then the browser has taken the text. */
const REVOKED_AFTER_MS = 60_000;

/** Save a text that the page has made. */
export function saveText(text: string, name: string, type: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = safeName(name);
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), REVOKED_AFTER_MS);
}

/** Names of others as names of files. */
function safeName(name: string): string {
  return name.replace(/[^\p{L}\p{N}._ -]/gu, "_").replace(/^\.+/, "_").slice(-120) || "file";
}
