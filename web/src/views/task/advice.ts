/** What a person can do about the end of a task, by the reason that the server gives. */

import type { Task } from "../../api/model";
import { plural } from "../../format";

export function advice(task: Task): string | undefined {
  switch (task.failure_reason) {
    case "EXIT_CODE":
      return "The end of the log shows why the command gave up.";
    case "SIGNAL":
      return "The command was ended from outside of the server, or crashed. See the end of the log.";
    case "OUT_OF_MEMORY":
      return task.memory_gb
        ? `Ask for more than ${task.memory_gb} GiB of memory, or let the command use less.`
        : "Ask for memory (memory_gb), or let the command use less.";
    case "TIMEOUT":
      return task.timeout_seconds
        ? `Give it more time than ${plural(task.timeout_seconds, "second")}, or let it continue from a checkpoint.`
        : "Give it more time.";
    case "PREPARE_FAILED":
      return "Check the image, the datasets and the snapshot that the error names, then run it again.";
    case "START_FAILED":
      return "Check the command: the program must be in the image and executable.";
    case "LOST":
      return "Nothing is known of its end, as after a power failure. Run it again.";
    case "COLLECT_FAILED":
      return "Its results could not be stored. An admin can look at the disk, then run it again.";
    case "DEPENDENCY_FAILED":
      return "Run the task that the error names again, then submit this one after the new task.";
    case "IDLE":
      return "It held GPUs that it did not use. See the end of the log for what it waited for.";
    default:
      return undefined;
  }
}
