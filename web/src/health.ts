/** The state of the server, which every visitor may read. */
import { signal } from "@preact/signals";
import type { HealthResponse } from "./api/types";

export type Health = HealthResponse;

export const health = signal<Health | undefined>(undefined);

export async function loadHealth(): Promise<void> {
  const reply = await fetch("/health");
  if (reply.ok) health.value = (await reply.json()) as Health;
}
