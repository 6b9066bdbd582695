/** What a terminal receives for a key, as xterm sends it. */

/** The part of a `KeyboardEvent` that is used. */
export interface Key {
  key: string;
  ctrlKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
  metaKey: boolean;
}

const ESCAPE = "\x1b";

/** Keys with one sequence; those of `CURSOR` and `TILDE` carry Shift, Alt and Ctrl in theirs. */
const FIXED: Readonly<Record<string, string>> = {
  Enter: "\r",
  Backspace: "\x7f",
  Tab: "\t",
  Escape: ESCAPE,
};

const CURSOR: Readonly<Record<string, string>> = {
  ArrowUp: "A",
  ArrowDown: "B",
  ArrowRight: "C",
  ArrowLeft: "D",
  End: "F",
  Home: "H",
  F1: "P",
  F2: "Q",
  F3: "R",
  F4: "S",
};

const TILDE: Readonly<Record<string, number>> = {
  Insert: 2,
  Delete: 3,
  PageUp: 5,
  PageDown: 6,
  F5: 15,
  F6: 17,
  F7: 18,
  F8: 19,
  F9: 20,
  F10: 21,
  F11: 23,
  F12: 24,
};

/**
 * Return the sequence of a key; `undefined` if the key is the browser's own, or a text that the
 * input field reports. `isApplication`: whether the program asked for application cursor keys.
 */
export function sequenceOf(event: Key, isApplication: boolean): string | undefined {
  const { key, ctrlKey, altKey, shiftKey, metaKey } = event;
  if (metaKey || isOfBrowser(event)) return undefined;
  const alt = altKey ? ESCAPE : "";
  if (key === "Tab" && shiftKey) return `${ESCAPE}[Z`;
  if (FIXED[key] !== undefined) return alt + FIXED[key];
  const modifiers = 1 + Number(shiftKey) + 2 * Number(altKey) + 4 * Number(ctrlKey);
  const cursor = CURSOR[key];
  if (cursor !== undefined) {
    if (modifiers > 1) return `${ESCAPE}[1;${modifiers}${cursor}`;
    return ESCAPE + (isApplication || /^F\d$/.test(key) ? "O" : "[") + cursor;
  }
  const tilde = TILDE[key];
  if (tilde !== undefined) return `${ESCAPE}[${tilde}${modifiers > 1 ? `;${modifiers}` : ""}~`;
  if (key.length !== 1) return undefined;
  if (ctrlKey && !altKey) return control(key);
  return altKey && !ctrlKey ? alt + key : undefined;
}

/** Copy, paste and the developer tools stay the browser's. */
function isOfBrowser({ key, ctrlKey, shiftKey }: Key): boolean {
  return ctrlKey && shiftKey && ["c", "v", "i", "j"].includes(key.toLowerCase());
}

function control(key: string): string | undefined {
  if (key === " " || key === "@") return "\0";
  const code = key.toUpperCase().charCodeAt(0);
  return code >= 0x41 && code <= 0x5f ? String.fromCharCode(code - 0x40) : undefined;
}

/** A text that is pasted, as the program expects it; it cannot end the brackets itself. */
export function pasted(text: string, isBracketed: boolean): string {
  const lines = text.replaceAll(/\r?\n/g, "\r");
  return isBracketed ? `${ESCAPE}[200~${lines.replaceAll(ESCAPE, "")}${ESCAPE}[201~` : lines;
}
