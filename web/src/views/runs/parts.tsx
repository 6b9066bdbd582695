/** Parts that views of runs share. */

import type { LoggedRun } from "../../api/model";
import { plain, shortId } from "../../format";
import { href } from "../../router";
import { Icon } from "../../ui/icon";

const WORDS = {
  running: ["running", "running", "running"],
  scheduled: ["scheduled", "queued", "queued"],
  finished: ["finished", "completed", "completed"],
  failed: ["failed", "failed", "failed"],
  killed: ["killed", "cancelled", "cancelled"],
} as const;

export function RunStatus({ run }: { run: Pick<LoggedRun, "status"> }) {
  const [word, kind, icon] = WORDS[run.status] ?? WORDS.scheduled;
  return (
    <span class={`status status-${kind}`}>
      <Icon name={icon} />
      {word}
    </span>
  );
}

export function RunLink({ run }: { run: Pick<LoggedRun, "id" | "name"> }) {
  return (
    <a class="task-link" href={href(["runs", run.id])} title={run.id}>
      <span class="task-name">{plain(run.name)}</span> <span class="task-id">{shortId(run.id)}</span>
    </a>
  );
}

/** Tags that MLflow's clients set for their own use. */
export function isOwnTag(name: string): boolean {
  return name.startsWith("mlflow.");
}
