/** What admins look after: keys, use, storage, the audit, the host. */

import type { FunctionComponent } from "preact";
import { href, route } from "../../router";
import { useTitle } from "../../ui/use";
import { Audit } from "./audit";
import { Host } from "./host";
import { Keys } from "./keys";
import { Storage } from "./storage";
import { Use } from "./use";

interface Part {
  title: string;
  Content: FunctionComponent;
}

const KEYS: Part = { title: "Keys", Content: Keys };
const PARTS: ReadonlyMap<string, Part> = new Map([
  ["keys", KEYS],
  ["use", { title: "Use", Content: Use }],
  ["storage", { title: "Storage", Content: Storage }],
  ["audit", { title: "Audit", Content: Audit }],
  ["host", { title: "Host", Content: Host }],
]);

export default function Admin() {
  const chosen = PARTS.get(route.value.query.get("part") ?? "keys") ?? KEYS;
  const { title, Content } = chosen;
  useTitle(title);
  return (
    <div class="view admin">
      <h1>Admin</h1>
      <nav class="subviews" aria-label="Parts">
        {[...PARTS].map(([name, part]) => (
          <a
            key={name}
            href={href(["admin"], { part: name })}
            aria-current={part === chosen ? "page" : undefined}
          >
            {part.title}
          </a>
        ))}
      </nav>
      <Content />
    </div>
  );
}
