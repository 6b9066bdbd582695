/** What both plots share. */

import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { plain } from "../../format";
import { shown, type Column, type Run } from "../../state/runs";

export interface PlotProps {
  runs: readonly Run[];
  columns: readonly Column[];
  selected: ReadonlySet<string>;
}

/** The width of an element in pixels, so that texts in its drawing keep their size. */
export function useWidth(): [RefObject<HTMLDivElement | null>, number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(800);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(Math.max(240, element.clientWidth)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [box, width];
}

/** A run in words: its name, and its values in these columns. */
export function described(run: Run, columns: readonly Column[]): string {
  const values = columns.map((column) => `${column.name}=${shown(run.values.get(column.key))}`);
  return plain(`${run.name} ${run.id.slice(-8)}: ${values.join(", ")}`);
}

interface ChoiceProps {
  label: string;
  columns: readonly Column[];
  value: string;
  onChange: (key: string) => void;
}

export function ColumnChoice({ label, columns, value, onChange }: ChoiceProps) {
  return (
    <label class="plot-choice">
      <span class="field-name">{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {columns.map((column) => (
          <option key={column.key} value={column.key}>
            {plain(column.name)} ({column.kind})
          </option>
        ))}
      </select>
    </label>
  );
}

export function clip(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
