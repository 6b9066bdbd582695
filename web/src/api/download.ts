/** Downloads of files that need the session. */

import { announce } from "../ui/notes";
import { store } from "../state/store";
import { isAbort, message, url, type Query } from "./http";

/** Types that a browser shows as what they are; none of them is HTML or SVG. */
export async function readBlob(path: string, type: string, signal: AbortSignal): Promise<Blob> {
  const reply = await store.http.send("GET", path, { signal });
  return new Blob([await reply.arrayBuffer()], { type });
}

/** A larger file goes to the disk as it arrives, where the browser has that. */
const LARGE_BYTES = 64 * 1024 * 1024;

/**
 * Save a file of the server. With a cookie the browser does it, if it marks its requests. A
 * session in memory, and the page's own mark, are headers, so there the page reads the file and
 * saves it. `size`: as far as it is known.
 */
export async function downloadFile(
  path: string,
  name: string,
  size: number,
  query: Query = {},
): Promise<void> {
  if (store.session.value?.mode === "cookie" && isSecureContext) {
    save(url(path, query), name);
    return;
  }
  try {
    const target = size > LARGE_BYTES ? await chosenFile(name) : undefined;
    const reply = await store.http.send("GET", path, { query });
    if (target && reply.body) await reply.body.pipeTo(await target.createWritable());
    else {
      const address = URL.createObjectURL(await reply.blob());
      save(address, name);
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    }
  } catch (error) {
    if (!isAbort(error)) announce(`${name}: ${message(error)}`, "problem");
  }
}

interface FilePicker {
  showSaveFilePicker?: (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;
}

async function chosenFile(name: string): Promise<FileSystemFileHandle | undefined> {
  const picker = (window as FilePicker).showSaveFilePicker;
  return picker ? picker({ suggestedName: safeName(name) }) : undefined;
}

function save(address: string, name: string): void {
  const link = document.createElement("a");
  link.href = address;
  link.download = safeName(name);
  document.body.append(link);
  link.click();
  link.remove();
}

/** Names of others as names of files. */
function safeName(name: string): string {
  return name.replace(/[^\p{L}\p{N}._ -]/gu, "_").replace(/^\.+/, "_").slice(-120) || "file";
}
