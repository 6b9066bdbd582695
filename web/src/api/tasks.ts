/** Requests about one task that several views send. */

import type { Http } from "./http";
import type { Task } from "./model";

/** Cancel a task, if it is live. */
export async function cancelTask(http: Http, id: string): Promise<void> {
  await http.call("POST", `/v1/tasks/${id}/cancel`);
}

/** Submit the request of an ended task again. Returns the new task. */
export function retryTask(http: Http, id: string): Promise<Task> {
  return http.call("POST", `/v1/tasks/${id}/retry`, { query: { view: "full" } });
}
