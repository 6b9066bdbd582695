/** Short notes of the page: a problem, an empty place, a passing word. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { IconButton, SmallButton } from "./button";
import { Icon } from "./icon";

export function Problem({ text, retry }: { text: string | undefined; retry?: () => void }) {
  if (text === undefined) return null;
  return (
    <div class="note note-problem" role="alert">
      <Icon name="warning" />
      <span class="note-text">{text}</span>
      {retry && (
        <SmallButton onClick={retry}>
          Try again
        </SmallButton>
      )}
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export function Loading({ what = "Loading" }: { what?: string }) {
  return (
    <p class="empty loading" role="status">
      {what}…
    </p>
  );
}

interface Toast {
  id: number;
  text: string;
  kind: "done" | "problem";
}

const toasts = signal<readonly Toast[]>([]);
const SHOWN_MS = 6_000;
const MOST = 4;
let lastToast = 0;

/** Show a message for some seconds. Screen readers announce it. */
export function announce(text: string, kind: Toast["kind"] = "done"): void {
  const toast = { id: ++lastToast, text, kind };
  toasts.value = [...toasts.value.slice(1 - MOST), toast];
  setTimeout(() => dismiss(toast.id), kind === "problem" ? 2 * SHOWN_MS : SHOWN_MS);
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast toast-${toast.kind}`}>
          <Icon name={toast.kind === "done" ? "completed" : "warning"} />
          <span>{toast.text}</span>
          <IconButton icon="close" label="Dismiss" onClick={() => dismiss(toast.id)} />
        </div>
      ))}
    </div>
  );
}
