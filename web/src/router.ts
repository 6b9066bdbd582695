/**
 * The address: `/ui/path?query`. Everything that a person may want to send to a colleague is in it.
 * The server sends the page for every such path.
 */

import { signal } from "@preact/signals";

export interface ViewProps {
  /** The values of the address's variable parts: `tasks/:id` gives `{ id }`. */
  params: Readonly<Record<string, string>>;
}

export interface Route {
  /** The parts of the path below `/ui/`: `["tasks", "0190…"]`. Empty: the start. */
  parts: readonly string[];
  query: URLSearchParams;
}

/** Values of parameters; a list repeats one, an empty or absent value removes it. */
export type Parameters = Record<string, string | readonly string[] | undefined>;

const BASE = "/ui/";

export const route = signal<Route>({ parts: [], query: new URLSearchParams() });

export function parse(path: string, search: string): Route {
  const below = path.startsWith(BASE) ? path.slice(BASE.length) : "";
  return {
    parts: below.split("/").filter(Boolean).map(decoded),
    query: new URLSearchParams(search),
  };
}

/** Return the address of a view: `href(["tasks", id], { tab: "logs" })`. */
export function href(parts: readonly string[], query: Parameters | URLSearchParams = {}): string {
  const parameters =
    query instanceof URLSearchParams ? query : changed(new URLSearchParams(), query);
  // A filter is easier to read with its commas and marks as they are.
  const text = parameters.toString().replaceAll("%2C", ",").replaceAll("%3D", "=");
  return BASE + parts.map(encodeURIComponent).join("/") + (text === "" ? "" : `?${text}`);
}

export function navigate(address: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  read();
}

/** Change some parameters of the current address. */
export function setQuery(changes: Parameters, { replace = true } = {}): void {
  const query = changed(new URLSearchParams(route.value.query), changes);
  navigate(href(route.value.parts, query), { replace });
}

/** Links that MLflow's clients print, such as `/mlflow/#/experiments/1/runs/0af…`, lead here. */
const MLFLOW_LINK = /^#\/experiments\/([^/?]+)(?:\/runs\/([^/?]+))?/;

/** The view that the fragment of such a link names; `undefined`: the fragment is none. */
export function linkOfMlflow(fragment: string): string | undefined {
  const found = MLFLOW_LINK.exec(fragment);
  if (!found) return undefined;
  const [, experiment = "", run] = found;
  return href(run === undefined ? ["experiments", decoded(experiment)] : ["runs", decoded(run)]);
}

export function startRouter(): void {
  const linked = linkOfMlflow(location.hash);
  if (linked !== undefined) history.replaceState(null, "", linked);
  addEventListener("popstate", read);
  document.addEventListener("click", follow);
  read();
}

function changed(query: URLSearchParams, changes: Parameters): URLSearchParams {
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of typeof value === "string" ? [value] : (value ?? []))
      if (one !== "") query.append(name, one);
  }
  return query;
}

function read(): void {
  route.value = parse(location.pathname, location.search);
}

/** Links to views change the view; everything else is the browser's. */
function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest("a");
  if (!link || link.target !== "" || link.hasAttribute("download")) return;
  if (link.origin !== location.origin || !link.pathname.startsWith(BASE)) return;
  event.preventDefault();
  if (link.href !== location.href) navigate(link.href);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
