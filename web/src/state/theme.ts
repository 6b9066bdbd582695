/** Light or dark: the system's choice unless the person chose. Only this choice is stored. */

import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const PLACE = "fetchml.theme";
export const theme = signal<Theme>("system");

export function startTheme(): void {
  try {
    const kept = localStorage.getItem(PLACE);
    if (kept === "light" || kept === "dark") theme.value = kept;
  } catch {
    // A browser that stores nothing.
  }
  theme.subscribe((chosen) => {
    document.documentElement.dataset.theme = chosen;
    storeTheme();
  });
}

export function storeTheme(): void {
  try {
    if (theme.value === "system") localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, theme.value);
  } catch {
    // As above.
  }
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

export function nextTheme(): void {
  theme.value = NEXT[theme.value];
}
