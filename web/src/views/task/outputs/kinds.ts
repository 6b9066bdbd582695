/** What a preview shows of a file, by its name. Types come from this list only, never from a task. */

export type Kind =
  | { is: "picture"; type: string }
  | { is: "audio"; type: string }
  | { is: "video"; type: string }
  | { is: "table" }
  | { is: "json" }
  | { is: "text" };

/** SVG is shown as text: as a picture it is a document that a task wrote. */
const PICTURES: Readonly<Record<string, string>> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  avif: "image/avif",
  bmp: "image/bmp",
};
const AUDIO: Readonly<Record<string, string>> = {
  wav: "audio/wav",
  mp3: "audio/mpeg",
  ogg: "audio/ogg",
  flac: "audio/flac",
  m4a: "audio/mp4",
};
const VIDEO: Readonly<Record<string, string>> = { mp4: "video/mp4", webm: "video/webm" };
const TEXTS = new Set(
  (
    "txt log md rst py sh js ts html htm css xml svg yaml yml toml ini cfg conf tex bib " +
    "c h cpp hpp rs go java r jl sql diff patch"
  ).split(" "),
);

export function kindOf(path: string): Kind | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  const suffix = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1) : "";
  const has = (table: Readonly<Record<string, string>>) => Object.hasOwn(table, suffix);
  if (has(PICTURES)) return { is: "picture", type: PICTURES[suffix] as string };
  if (has(AUDIO)) return { is: "audio", type: AUDIO[suffix] as string };
  if (has(VIDEO)) return { is: "video", type: VIDEO[suffix] as string };
  if (suffix === "csv" || suffix === "tsv") return { is: "table" };
  if (suffix === "json" || suffix === "jsonl" || suffix === "ipynb") return { is: "json" };
  if (suffix === "" || TEXTS.has(suffix)) return { is: "text" };
  return undefined;
}

const ORDER: readonly Kind["is"][] = ["picture", "table", "json", "audio", "video", "text"];

/** The file that is shown first: the one whose preview says most. */
export function firstShown<T extends { path: string }>(files: readonly T[]): T | undefined {
  for (const kind of ORDER) {
    const found = files.find((file) => kindOf(file.path)?.is === kind);
    if (found) return found;
  }
  return undefined;
}

/** Most bytes that a preview reads. Of texts it shows the start, other kinds need the whole file. */
export const TEXT_BYTES = 256 * 1024;
export const MEDIA_BYTES = 64 * 1024 * 1024;
