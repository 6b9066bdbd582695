/** The table of views: their addresses, their names, who sees them, and the module of each. */

import type { ComponentType } from "preact";
import type { Role } from "./api/model";
import type { ViewProps } from "./router";
import type { IconName } from "./ui/icon";
import Overview from "./views/overview";

export type ViewComponent = ComponentType<ViewProps>;

export interface View {
  /** Address without `#/`; a part that begins with `:` is variable. */
  path: string;
  title: string;
  /** Set for views that the navigation lists. */
  icon?: IconName;
  /** Roles that see it. Default: all. */
  roles?: readonly Role[];
  load: () => Promise<{ default: ViewComponent }>;
}

// Views are separate files that load when they are opened, except the first one. Their CSS is
// imported by style.css.
export const VIEWS: readonly View[] = [
  {
    path: "",
    title: "Overview",
    icon: "overview",
    load: () => Promise.resolve({ default: Overview }),
  },
  { path: "tasks", title: "Tasks", icon: "tasks", load: () => import("./views/tasks/list") },
  { path: "tasks/:id", title: "Task", load: () => import("./views/task/index") },
  {
    path: "submit",
    title: "Submit",
    icon: "submit",
    roles: ["user", "admin"],
    load: () => import("./views/submit"),
  },
  {
    path: "experiments",
    title: "Experiments",
    icon: "experiments",
    load: () => import("./views/experiments/list"),
  },
  {
    path: "experiments/:id",
    title: "Experiment",
    load: () => import("./views/experiments/experiment"),
  },
  {
    path: "sweeps",
    title: "Sweeps",
    icon: "sweeps",
    load: () => import("./views/sweeps/list"),
  },
  { path: "sweeps/:id", title: "Sweep", load: () => import("./views/sweeps/sweep") },
  { path: "runs", title: "Runs", icon: "runs", load: () => import("./views/runs/list") },
  { path: "runs/:id", title: "Run", load: () => import("./views/runs/run") },
  { path: "sql", title: "SQL", icon: "sql", load: () => import("./views/sql") },
  { path: "compare", title: "Compare", load: () => import("./views/compare") },
  { path: "gpus", title: "GPUs", icon: "gpus", load: () => import("./views/gpus") },
  { path: "jupyter", title: "Jupyter", icon: "jupyter", load: () => import("./views/jupyter") },
  {
    path: "environments",
    title: "Environments",
    icon: "environments",
    roles: ["user", "admin"],
    load: () => import("./views/environments"),
  },
  {
    path: "secrets",
    title: "Secrets",
    icon: "secrets",
    roles: ["user", "admin"],
    load: () => import("./views/secrets"),
  },
  {
    path: "notifications",
    title: "Notifications",
    icon: "notifications",
    roles: ["user", "admin"],
    load: () => import("./views/notifications"),
  },
  {
    path: "admin",
    title: "Admin",
    icon: "admin",
    roles: ["admin"],
    load: () => import("./views/admin"),
  },
];

export interface Found {
  view: View;
  params: Record<string, string>;
}

/** Return the view of an address, `undefined` if there is none. */
export function findView(parts: readonly string[], role: Role): Found | undefined {
  for (const view of VIEWS) {
    if (view.roles && !view.roles.includes(role)) continue;
    const pattern = view.path === "" ? [] : view.path.split("/");
    if (pattern.length !== parts.length) continue;
    const params: Record<string, string> = {};
    const fits = pattern.every((part, index) => {
      const given = parts[index] ?? "";
      if (!part.startsWith(":")) return part === given;
      params[part.slice(1)] = given;
      return true;
    });
    if (fits) return { view, params };
  }
  return undefined;
}
