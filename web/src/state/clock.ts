/** The time as the page shows it: one signal that ticks each second while the page is visible. */

import { signal } from "@preact/signals";

export const now = signal(Date.now());

export function startClock(): void {
  const tick = () => {
    if (document.visibilityState === "visible") now.value = Date.now();
  };
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
}
