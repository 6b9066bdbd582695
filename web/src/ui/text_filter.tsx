/** An input that reports its text once the person pauses, not for each key. */

import { useEffect, useRef, useState } from "preact/hooks";

const PAUSE_MS = 250;

interface Props {
  value: string;
  onChange: (text: string) => void;
  type?: "text" | "search";
  placeholder?: string;
}

export function TextFilter({ value, onChange, type = "text", placeholder }: Props) {
  const [text, setText] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const typed = useRef(value);
  // The value changed from outside, as by the Back button.
  useEffect(() => {
    if (value === typed.current) return;
    typed.current = value;
    setText(value);
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <input
      {...(type === "search" ? { type: "search" as const } : { type: "text" as const })}
      value={text}
      placeholder={placeholder ?? ""}
      autocomplete="off"
      spellcheck={false}
      onInput={(event) => {
        const next = event.currentTarget.value;
        setText(next);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => {
          typed.current = next.trim();
          onChange(next.trim());
        }, PAUSE_MS);
      }}
    />
  );
}
