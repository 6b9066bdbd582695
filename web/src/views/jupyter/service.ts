/** A Jupyter service as the view shows it. */

import type { JupyterService } from "../../api/types";

export type Service = JupyterService &
  Required<Pick<JupyterService, "id" | "name" | "status" | "created_at">>;

export function isLive(service: Service): boolean {
  return service.status !== "stopped" && service.status !== "error";
}

/**
 * The address that a browser opens, with the service's token: only its owner and admins get one.
 * Jupyter's own page waits while the service starts.
 */
export function link(service: Service): string | undefined {
  if (!isLive(service) || service.status === "stopping" || !service.token || !service.url)
    return undefined;
  try {
    const address = new URL("lab", service.url);
    // No other scheme may run as a script of this page.
    if (address.protocol !== "http:" && address.protocol !== "https:") return undefined;
    address.searchParams.set("token", service.token);
    return address.href;
  } catch {
    return undefined;
  }
}

export function needs(service: Service): string {
  const parts = [];
  if (service.gpu) parts.push(`${service.gpu} GPU`);
  if (service.cpu) parts.push(`${service.cpu} CPU`);
  if (service.memory_gb) parts.push(`${service.memory_gb} GiB`);
  return parts.join(" · ");
}
