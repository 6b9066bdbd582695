/** Addresses of webhooks as a person types them: `[EVENT,…]URL`, one a line, as `--notify` has it. */

import type { NotifyTarget } from "../api/types";

type Event = NonNullable<NotifyTarget["on"]>[number];

/** Everything before the last comma is events; the server explains those that are none. */
export function targets(text: string): NotifyTarget[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      const at = line.search(/https?:/);
      const events = at > 0 ? line.slice(0, at).split(",").filter(Boolean) : [];
      const url = at > 0 ? line.slice(at) : line;
      return events.length > 0 ? { url, on: events as Event[] } : { url };
    });
}

export function targetsText(given: readonly NotifyTarget[] | undefined): string {
  return (given ?? []).map(targetText).join("\n");
}

export function targetText({ url, on }: NotifyTarget): string {
  return [...(on ?? []), url].join(",");
}
