/** A chart over time, drawn by uPlot. Imported by views that load later than the first one. */

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { exactTime } from "../format";
import { scheme } from "../state/theme";

export interface Series {
  name: string;
  /** Name of a colour of tokens.css, without its dashes. */
  colour: string;
  /** One value for each time; `null` where there is none. */
  values: readonly (number | null)[];
  /** Fill the ground below the line. */
  isFilled?: boolean;
  isDashed?: boolean;
}

interface Props {
  label: string;
  /** In seconds. */
  times: readonly number[];
  series: readonly Series[];
  /** The text of a value, at the axis and in the legend. */
  format: (value: number) => string;
  height?: number;
  /** Top of the axis, at least. */
  max?: number;
}

export function Chart({ label, times, series, format, height = 150, max }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shape = series.map((one) => one.name + one.colour).join();

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const colours = getComputedStyle(element);
    const colour = (name: string) => colours.getPropertyValue(`--${name}`).trim();
    const axis: uPlot.Axis = {
      stroke: colour("muted"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { show: false },
      font: `11px ${colours.fontFamily}`,
    };
    const options: uPlot.Options = {
      width: element.clientWidth,
      height,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      scales: { y: { range: (_plot, _low, high) => [0, Math.max(high, max ?? 0) || 1] } },
      axes: [
        axis,
        {
          ...axis,
          size: 64,
          values: (_plot, values) => values.map((value) => format(value)),
        },
      ],
      series: [
        {},
        ...series.map((one): uPlot.Series => {
          const drawn: uPlot.Series = {
            label: one.name,
            stroke: colour(one.colour),
            width: 1.5,
            points: { show: false },
          };
          if (one.isDashed) drawn.dash = [4, 4];
          if (one.isFilled) drawn.fill = `color-mix(in srgb, ${colour(one.colour)} 14%, transparent)`;
          return drawn;
        }),
      ],
      hooks: { setCursor: [showValues] },
    };
    const made = new uPlot(options, data(times, series), element);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, height, max, scheme.value]);

  useEffect(() => {
    plot.current?.setData(data(times, series));
    showValues();
  }, [times, series]);

  const legend = useRef<HTMLUListElement>(null);
  /** Write the values at the cursor, or the last ones, into the legend. */
  function showValues(): void {
    const drawn = plot.current;
    const places = legend.current?.querySelectorAll(".chart-value");
    if (!drawn || !places) return;
    const last = drawn.data[0].length - 1;
    const index = drawn.cursor.idx ?? last;
    places.forEach((place, number) => {
      const value = drawn.data[number + 1]?.[index];
      place.textContent = value === null || value === undefined ? "" : format(value);
    });
    const time = drawn.data[0][index];
    box.current?.setAttribute("aria-valuemax", String(Math.max(0, last)));
    box.current?.setAttribute("aria-valuenow", String(Math.max(0, index)));
    const values = [...(legend.current?.children ?? [])].map((one) => one.textContent?.trim()).join(", ");
    const at = time === undefined ? "" : exactTime(1000 * time);
    box.current?.setAttribute("aria-valuetext", `${at}: ${values}`);
  }

  /** The arrow keys move the cursor as the pointer does; Escape takes it away. */
  function move(event: KeyboardEvent): void {
    const drawn = plot.current;
    // With a modifier the key is the browser's: Alt and an arrow goes back a page.
    if (!drawn || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = drawn.data[0].length - 1;
    const index = drawn.cursor.idx ?? last;
    const steps = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last };
    if (event.key === "Escape") drawn.setCursor({ left: -10, top: -10 });
    else if (Object.hasOwn(steps, event.key)) {
      const next = Math.min(last, Math.max(0, steps[event.key as keyof typeof steps]));
      const time = drawn.data[0][next];
      if (time === undefined) return;
      drawn.setCursor({ left: drawn.valToPos(time, "x"), top: 0 });
    } else return;
    event.preventDefault();
  }

  return (
    <figure class="chart" aria-label={label}>
      <figcaption class="chart-head">
        <span class="chart-title">{label}</span>
        <ul ref={legend} class="chart-legend">
          {series.map((one) => (
            <li key={one.name}>
              <span class={`chart-key chart-key-${one.colour}`} aria-hidden="true" />
              {one.name} <span class="chart-value number" />
            </li>
          ))}
        </ul>
      </figcaption>
      <div
        ref={box}
        class="chart-plot"
        role="slider"
        tabIndex={0}
        aria-label={`Values of ${label}`}
        aria-valuemin={0}
        aria-valuenow={0}
        onKeyDown={move}
      />
    </figure>
  );
}

function data(times: readonly number[], series: readonly Series[]): uPlot.AlignedData {
  return [[...times], ...series.map((one) => [...one.values])];
}
