/**
 * The time as the page shows it. Each tick draws again everything that shows it, so only durations
 * that count the seconds follow `now`; "12 s ago" and estimates follow `slowNow`.
 */

import { batch, signal } from "@preact/signals";

const SLOW_TICKS = 5;

/** Ticks each second while the page is visible. */
export const now = signal(Date.now());
/** Ticks every five seconds while the page is visible: at most five seconds behind. */
export const slowNow = signal(now.value);

export function startClock(): void {
  let ticks = 0;
  const tick = (isSlow: boolean) => {
    if (document.visibilityState !== "visible") return;
    batch(() => {
      now.value = Date.now();
      if (isSlow) slowNow.value = now.value;
    });
  };
  setInterval(() => tick(++ticks % SLOW_TICKS === 0), 1000);
  document.addEventListener("visibilitychange", () => tick(true));
}
