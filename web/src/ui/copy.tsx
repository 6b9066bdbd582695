/** Buttons that copy a text. */

import { IconButton } from "./button";
import { announce } from "./notes";

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS a page has no clipboard of its own: select and copy as an old browser does.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "off-screen";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) {
      announce("The browser does not allow the page to copy", "problem");
      return;
    }
  }
  announce(`Copied ${what}`);
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  return (
    <IconButton
      icon="copy"
      label={`Copy ${what}`}
      title={`Copy ${what}`}
      onClick={() => void copy(text, what)}
    />
  );
}
