/** A scrolling window over many rows of equal height: only the visible ones exist. */

import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Slots } from "../state/slots";

/** Rows beyond the visible ones, so that fast scrolling and the Tab key find them there. */
const SPARE = 8;

interface Props<T> {
  rows: readonly T[];
  height: number;
  /** Header that stays at the top; part of the table. */
  head: VNode;
  label: string;
  /** Number of all rows, also those that are not read yet; `undefined` if it is not known. */
  total: number | undefined;
  /** `key`: of the element, which may have shown another row before. */
  row: (value: T, index: number, key: string) => VNode;
  keyOf: (value: T) => string;
  /** Whether the row has no state of its own, so that its element can show another such row. */
  isPlain: (value: T) => boolean;
  /** Called when the last rows come near. */
  onEnd: () => void;
  /** Called with the last row on the screen; with `undefined` while that shows the top. */
  onLook: (last: T | undefined) => void;
  /** Find a row again after the rows have changed. */
  indexOf: (value: T, rows: readonly T[]) => number;
  class?: string;
}

export function VirtualRows<T>(props: Props<T>) {
  const { rows, height, head, label, total, row, onEnd, onLook, indexOf } = props;
  const box = useRef<HTMLDivElement>(null);
  const anchor = useRef<{ value: T; inset: number } | null>(null);
  const [range, setRange] = useState({ from: 0, to: 40 });

  const look = () => {
    const element = box.current;
    if (!element) return;
    const top = element.scrollTop;
    const first = Math.floor(top / height);
    const from = Math.max(0, first - SPARE);
    const to = Math.ceil((top + element.clientHeight) / height) + SPARE;
    setRange((old) => (old.from === from && old.to === to ? old : { from, to }));
    const value = rows[first];
    anchor.current = top > 0 && value !== undefined ? { value, inset: top - first * height } : null;
    onLook(top > 0 ? rows[Math.min(to, rows.length) - 1] : undefined);
    if (to > rows.length - 2 * SPARE) onEnd();
  };

  // Rows that arrive above the visible ones do not move those.
  useLayoutEffect(() => {
    const element = box.current;
    const held = anchor.current;
    if (element && held) {
      const index = indexOf(held.value, rows);
      const top = index * height + held.inset;
      if (index >= 0 && Math.abs(top - element.scrollTop) >= 1) element.scrollTop = top;
    }
    look();
  }, [rows, height]);

  const latest = useRef(look);
  latest.current = look;
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => latest.current());
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const slots = useMemo(() => new Slots(), []);
  const drawn = useRef<readonly T[]>([]);
  const visible = rows.slice(range.from, range.to);
  const used = usedRow(box.current, drawn.current);
  const plain = visible.filter(props.isPlain).map(props.keyOf);
  const assigned = slots.assign(plain, used && props.keyOf(used)).values();
  drawn.current = rows;
  const shown = visible.map((value, at) => {
    const key = props.isPlain(value) ? `slot ${assigned.next().value}` : props.keyOf(value);
    return row(value, range.from + at, key);
  });

  return (
    <div
      ref={box}
      class={`virtual ${props.class ?? ""}`}
      role="table"
      aria-label={label}
      aria-rowcount={total === undefined ? -1 : total + 1}
      onScroll={look}
      onKeyDown={moveFocus}
    >
      {head}
      <div class="virtual-rows" role="rowgroup" style={{ height: `${rows.length * height}px` }}>
        {shown}
      </div>
    </div>
  );
}

/** The row with the focus, or that is being clicked. `rows`: as they were drawn last. */
function usedRow<T>(box: HTMLElement | null, rows: readonly T[]): T | undefined {
  const element = box?.querySelector("[role=row]:is(:focus-within, :active)");
  return element ? rows[Number(element.getAttribute("aria-rowindex")) - 2] : undefined;
}

/** The arrow keys move from row to row. */
function moveFocus(event: KeyboardEvent): void {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const focused = document.activeElement;
  const here = focused?.closest("[role=row]");
  if (!(focused instanceof HTMLElement) || !here || focused.tagName === "SELECT") return;
  const kind = focused.tagName === "INPUT" ? "input" : focused.tagName === "A" ? "a[href]" : "button";
  let next: Element | null = here;
  let target: HTMLElement | null | undefined;
  do {
    next = event.key === "ArrowDown" ? next.nextElementSibling : next.previousElementSibling;
    target = next?.querySelector<HTMLElement>(kind);
  } while (next && !target); // Not each row has each kind.
  if (!target) return;
  event.preventDefault();
  target.focus();
}
