/** A small line of a value over time, drawn with SVG. */

interface Props {
  /** 0 to 1 for each moment; `undefined` where nothing is known. */
  values: readonly (number | undefined)[];
  label: string;
}

const WIDTH = 120;
const HEIGHT = 24;

export function Sparkline({ values, label }: Props) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const parts: string[] = [];
  values.forEach((value, index) => {
    if (value === undefined) return;
    const share = Math.min(1, Math.max(0, value));
    const isFirst = index === 0 || values[index - 1] === undefined;
    parts.push(
      `${isFirst ? "M" : "L"}${(index * step).toFixed(1)} ${(HEIGHT - share * HEIGHT).toFixed(1)}`,
    );
  });
  return (
    <svg
      class="sparkline"
      viewBox={`0 -1 ${WIDTH} ${HEIGHT + 2}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <path d={parts.join("")} />
    </svg>
  );
}
