/** Any two columns against each other, a point for each run. */

import { useMemo } from "preact/hooks";
import { plain } from "../../format";
import { href, navigate, route, setQuery } from "../../router";
import { differing, numeric } from "../../state/runs";
import { scaleOf, type Scale } from "../../state/scale";
import { Check } from "../../ui/field";
import { Empty } from "../../ui/notes";
import { clip, ColumnChoice, described, useWidth, type PlotProps } from "./plot";

const HEIGHT = 420;
const LEFT = 70;
const RIGHT = 20;
const TOP = 15;
const BOTTOM = 45;

export function Scatter({ runs, columns, selected }: PlotProps) {
  const [box, width] = useWidth();
  const axes = useMemo(() => numeric(columns, runs), [columns, runs]);
  const { query } = route.value;
  const results = axes.filter((column) => column.kind === "result");
  const varied = differing(
    axes.filter((column) => column.kind !== "result"),
    runs,
  );
  const find = (key: string | null) => columns.find((column) => column.key === key);
  const x = find(query.get("x")) ?? varied[0] ?? axes[0];
  const y = find(query.get("y")) ?? results[0] ?? axes.at(-1);
  const isLogX = query.get("logx") === "1";
  const isLogY = query.get("logy") === "1";
  if (!x || !y) return <Empty>No run has numbers as parameters or results.</Empty>;

  const across = scaleOf(runs.map((run) => run.values.get(x.key)), isLogX);
  const up = scaleOf(runs.map((run) => run.values.get(y.key)), isLogY);
  const toX = (share: number) => LEFT + share * (width - LEFT - RIGHT);
  const toY = (share: number) => HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  const points = runs.flatMap((run) => {
    const [left, top] = [across.place(run.values.get(x.key)), up.place(run.values.get(y.key))];
    return left === undefined || top === undefined ? [] : [{ run, x: toX(left), y: toY(top) }];
  });
  const open = (id: string) => navigate(href(["tasks", id]));
  return (
    <div class="panel plot">
      <div class="plot-choices">
        <ColumnChoice label="Across" columns={columns} value={x.key} onChange={(key) => setQuery({ x: key })} />
        <Log label="Logarithmic" name="logx" isOn={isLogX} />
        <ColumnChoice label="Up" columns={columns} value={y.key} onChange={(key) => setQuery({ y: key })} />
        <Log label="Logarithmic" name="logy" isOn={isLogY} />
      </div>
      <div ref={box} class="plot-box">
        <svg
          class="plot-svg"
          width={width}
          height={HEIGHT}
          role="img"
          aria-label={plain(`${y.name} by ${x.name} of ${points.length} runs`)}
        >
          <Grid scale={across} place={toX} isAcross />
          <Grid scale={up} place={toY} width={width} />
          <text class="plot-name" x={(LEFT + width - RIGHT) / 2} y={HEIGHT - 8} text-anchor="middle">
            {plain(clip(x.name, 60))}
          </text>
          <text class="plot-name" x={LEFT} y={TOP - 3}>
            {plain(clip(y.name, 60))}
          </text>
          {points.map(({ run, x: left, y: top }) => (
            <circle
              key={run.id}
              class={selected.has(run.id) ? "point point-selected" : "point"}
              cx={left}
              cy={top}
              r={selected.has(run.id) ? 6 : 4.5}
              onClick={() => open(run.id)}
            >
              <title>{described(run, [x, y])}</title>
            </circle>
          ))}
        </svg>
      </div>
      {points.length < runs.length && (
        <p class="rows-more muted">
          {runs.length - points.length} runs have no such values and are not drawn.
        </p>
      )}
    </div>
  );
}

function Log({ label, name, isOn }: { label: string; name: string; isOn: boolean }) {
  return (
    <Check isOn={isOn} onChange={(now) => setQuery({ [name]: now ? "1" : "" })}>
      {label}
    </Check>
  );
}

interface GridProps {
  scale: Scale;
  place: (share: number) => number;
  isAcross?: boolean;
  width?: number;
}

function Grid({ scale, place, isAcross, width = 0 }: GridProps) {
  return (
    <g>
      {scale.ticks.map(({ at, text }) => {
        const where = place(at);
        return isAcross ? (
          <g key={text}>
            <line class="plot-grid" x1={where} x2={where} y1={TOP} y2={HEIGHT - BOTTOM} />
            <text class="plot-tick" x={where} y={HEIGHT - BOTTOM + 16} text-anchor="middle">
              {plain(clip(text, 12))}
            </text>
          </g>
        ) : (
          <g key={text}>
            <line class="plot-grid" x1={LEFT} x2={width - RIGHT} y1={where} y2={where} />
            <text class="plot-tick" x={LEFT - 8} y={where + 4} text-anchor="end">
              {plain(clip(text, 9))}
            </text>
          </g>
        );
      })}
    </g>
  );
}
