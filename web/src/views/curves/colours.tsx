/** Colours of runs: ten, and the same with dashes. */

const COLOURS = 10;

/** The colour's name among the properties of curves.css, without its dashes. */
export function colourOf(number: number): string {
  return `curve-${number % COLOURS}`;
}

export function isDashed(number: number): boolean {
  return number % (2 * COLOURS) >= COLOURS;
}

/** A piece of a run's line. */
export function Colour({ number }: { number: number }) {
  return (
    <svg class="metric-key" width="18" height="8" aria-hidden="true">
      <line
        x1="0"
        x2="18"
        y1="4"
        y2="4"
        class={isDashed(number) ? "metric-dashed" : ""}
        style={{ stroke: `var(--${colourOf(number)})` }}
      />
    </svg>
  );
}
