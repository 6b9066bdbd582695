/** Parallel coordinates: an axis for each column, a line for each run. */

import { useMemo, useState } from "preact/hooks";
import { plain } from "../../format";
import { href, navigate, route, setQuery } from "../../router";
import { differing, type Column, type Run } from "../../state/runs";
import { scaleOf } from "../../state/scale";
import { Empty } from "../../ui/notes";
import { clip, described, useWidth, type PlotProps } from "./plot";

const HEIGHT = 400;
const TOP = 40;
const BOTTOM = 20;
const SIDE = 60;
const MOST_AXES = 10;
/** Space that an axis needs with its numbers. */
const AXIS_WIDTH = 110;

export function Parallel({ runs, columns, selected }: PlotProps) {
  const [box, width] = useWidth();
  const [pointed, setPointed] = useState<string>();
  const usual = useMemo(() => usualAxes(columns, runs), [columns, runs]);
  const chosen = route.value.query.getAll("axis");
  const axes =
    chosen.length > 0 ? columns.filter((column) => chosen.includes(column.key)) : usual;
  const toggle = (key: string) => {
    const keys = axes.map((column) => column.key);
    setQuery({ axis: keys.includes(key) ? keys.filter((one) => one !== key) : [...keys, key] });
  };
  const choice = (
    <details class="menu">
      <summary class="button button-small">Axes</summary>
      <div class="menu-items menu-items-left">
        {columns.map((column) => (
          <label key={column.key} class="menu-item">
            <input
              type="checkbox"
              checked={axes.includes(column)}
              disabled={!axes.includes(column) && axes.length >= MOST_AXES}
              onChange={() => toggle(column.key)}
            />
            {plain(column.name)} <span class="muted">{column.kind}</span>
          </label>
        ))}
      </div>
    </details>
  );
  if (axes.length < 2)
    return (
      <div class="panel plot">
        <div class="plot-choices">{choice}</div>
        <Empty>The runs differ in fewer than two values. Choose two axes.</Empty>
      </div>
    );

  const wide = Math.max(width, 2 * SIDE + (axes.length - 1) * AXIS_WIDTH);
  const left = (index: number) => SIDE + (index / (axes.length - 1)) * (wide - 2 * SIDE);
  const top = (share: number) => HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  const scales = axes.map((axis) => scaleOf(runs.map((run) => run.values.get(axis.key))));
  const line = (run: Run) =>
    axes
      .flatMap((axis, index) => {
        const share = scales[index]?.place(run.values.get(axis.key));
        return share === undefined ? [] : [`${left(index)},${top(share)}`];
      })
      .join(" ");
  // What is selected or pointed at is drawn above the others.
  const rank = (run: Run) => (run.id === pointed ? 2 : selected.has(run.id) ? 1 : 0);
  const ordered = runs.toSorted((one, other) => rank(one) - rank(other));
  const pointedRun = runs.find((run) => run.id === pointed);
  return (
    <div class="panel plot">
      <div class="plot-choices">
        {choice}
        <span class="muted plot-pointed">
          {pointedRun ? described(pointedRun, axes) : "Point at a line to read its values"}
        </span>
      </div>
      <div ref={box} class="plot-box" tabIndex={0} role="region" aria-label="Parallel coordinates">
        <svg
          class="plot-svg"
          width={wide}
          height={HEIGHT}
          role="img"
          aria-label={plain(
            `${runs.length} runs by ${axes.map((axis) => axis.name).join(", ")}`,
          )}
          onPointerLeave={() => setPointed(undefined)}
        >
          {ordered.map((run) => (
            <polyline
              key={run.id}
              class={["run-line", "run-line run-line-selected", "run-line run-line-pointed"][rank(run)]}
              points={line(run)}
              onPointerEnter={() => setPointed(run.id)}
              onClick={() => navigate(href(["tasks", run.id]))}
            />
          ))}
          {axes.map((axis, index) => (
            <g key={axis.key}>
              <line class="plot-axis" x1={left(index)} x2={left(index)} y1={TOP} y2={HEIGHT - BOTTOM} />
              <text class="plot-name" x={left(index)} y={TOP - 20} text-anchor="middle">
                {plain(clip(axis.name, 16))}
              </text>
              {scales[index]?.ticks.map(({ at, text }) => (
                <text key={text} class="plot-tick plot-halo" x={left(index) + 6} y={top(at) + 4}>
                  {plain(clip(text, 12))}
                </text>
              ))}
            </g>
          ))}
        </svg>
      </div>
    </div>
  );
}

/** Parameters in which the runs differ, then results; as many as are readable. */
function usualAxes(columns: readonly Column[], runs: readonly Run[]): Column[] {
  const useful = differing(columns, runs).filter((column) => column.kind !== "label");
  const results = useful.filter((column) => column.kind === "result").slice(0, 3);
  const parameters = useful
    .filter((column) => column.kind === "parameter")
    .slice(0, 8 - results.length);
  return [...parameters, ...results];
}
