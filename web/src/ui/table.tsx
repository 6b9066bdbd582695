/** A table, which scrolls sideways where it is wider than its panel. */

import type { ComponentChildren } from "preact";

interface Heading {
  name: string;
  class?: string;
  /** Shown to screen readers only. */
  hidden?: true;
}

/** Above a column of buttons. */
export const ACTION: Heading = { name: "Action", hidden: true };

/** The head of a column of numbers, which are aligned to the right. */
export function number(name: string): Heading {
  return { name, class: "number" };
}

interface Props {
  /** For screen readers; without it the table can't be scrolled by keyboard. */
  label?: string;
  columns: readonly (string | Heading)[];
  /** The rows. */
  children: ComponentChildren;
}

export function Table({ label, columns, children }: Props) {
  const region = label === undefined ? {} : ({ tabIndex: 0, role: "region", "aria-label": label } as const);
  const headings = columns.map((column) => (typeof column === "string" ? { name: column } : column));
  return (
    <div class="table-box" {...region}>
      <table class="table">
        <thead>
          <tr>
            {headings.map(({ name, class: kind, hidden }: Heading, index) => (
              // A task chooses the names of metrics, so two columns may have one name.
              <th key={index} scope="col" class={kind}>
                {hidden ? <span class="off-screen">{name}</span> : name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
