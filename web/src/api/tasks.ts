/** Requests about one task that several views send. */

import type { Http } from "./http";
import { ENDED, type Task } from "./model";

/** Cancel a task, if it is live. */
export async function cancelTask(http: Http, id: string): Promise<void> {
  const path = `/v1/tasks/${id}`;
  // DELETE removes an ended task, which nobody asked for here.
  if (ENDED.has((await http.get<Task>(path)).status)) return;
  await http.call("DELETE", path);
}

/** Submit the request of an ended task again. Returns the new task. */
export function retryTask(http: Http, id: string): Promise<Task> {
  return http.call("POST", `/v1/tasks/${id}/retry`, { query: { view: "full" } });
}
