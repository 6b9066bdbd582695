/** Light or dark: the system's choice unless the person chose. Only this choice is stored. */

import { computed, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const PLACE = "fetchml.theme";
export const theme = signal<Theme>("system");
const isSystemDark = signal(false);
/** What is shown. */
export const scheme = computed(() => {
  if (theme.value !== "system") return theme.value;
  return isSystemDark.value ? "dark" : "light";
});

export function startTheme(): void {
  try {
    const kept = localStorage.getItem(PLACE);
    if (kept === "light" || kept === "dark") theme.value = kept;
  } catch {
    // A browser that stores nothing.
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  isSystemDark.value = dark.matches;
  dark.addEventListener("change", () => (isSystemDark.value = dark.matches));
  scheme.subscribe((shown) => (document.documentElement.dataset.theme = shown));
  theme.subscribe(storeTheme);
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
