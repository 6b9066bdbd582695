/** SQL over everything that ever ran: a query, its result, and what can be queried. */

import { useEffect, useRef, useState } from "preact/hooks";
import { isAbort, message } from "../../api/http";
import { saveText } from "../../api/download";
import { plain, plural } from "../../format";
import { route, setQuery } from "../../router";
import { isNumeric, placeOf, toCsv, valueText, type SqlColumn, type SqlResult } from "../../state/query_result";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { useRead, useTitle } from "../../ui/use";
import { EXAMPLES } from "./examples";

const SHOWN_ROWS = 1_000;
/** A longer query is run, but not kept in the address. */
const MOST_IN_ADDRESS = 6_000;

type State =
  | { kind: "idle" }
  | { kind: "running" }
  | { kind: "failed"; error: string }
  | { kind: "done"; result: SqlResult; ms: number };

export default function Sql() {
  useTitle("SQL");
  const inAddress = route.value.query.get("q") ?? "";
  const [sql, setSql] = useState(inAddress);
  const [state, setState] = useState<State>({ kind: "idle" });
  const running = useRef<AbortController | null>(null);
  const editor = useRef<HTMLTextAreaElement>(null);

  async function run(text: string): Promise<void> {
    running.current?.abort();
    const reading = (running.current = new AbortController());
    setState({ kind: "running" });
    const began = performance.now();
    try {
      const options = { body: { sql: text }, signal: reading.signal };
      const result = await store.http.call<SqlResult>("POST", "/v1/history/query", options);
      setState({ kind: "done", result, ms: performance.now() - began });
    } catch (error) {
      if (isAbort(error)) return;
      // In errors the server writes a line break as two characters.
      const lines = message(error).replaceAll("\\n", "\n");
      setState({ kind: "failed", error: lines });
      const place = placeOf(lines, text);
      if (place !== undefined) editor.current?.setSelectionRange(place, place);
    }
  }

  /** A query that has run is in the address, which the Back button returns to. */
  function submit(text: string): void {
    if (text.trim() === "") return;
    if (text === inAddress || text.length > MOST_IN_ADDRESS) void run(text);
    else setQuery({ q: text }, { replace: false });
  }

  useEffect(() => {
    setSql(inAddress);
    if (inAddress !== "") void run(inAddress);
    else setState({ kind: "idle" });
    return () => running.current?.abort();
  }, [inAddress]);

  function stop(): void {
    running.current?.abort();
    setState({ kind: "idle" });
  }

  const failed = state.kind === "failed" ? state.error : undefined;
  return (
    <div class="view">
      <header class="view-head">
        <h1>SQL</h1>
      </header>
      <div class="sql-columns">
        <div class="sql-main">
          <div class="panel panel-body sql-editor">
            <label class="field-name" htmlFor="sql-text">
              Query
            </label>
            <textarea
              id="sql-text"
              ref={editor}
              class="sql-text"
              rows={Math.min(24, Math.max(6, sql.split("\n").length + 1))}
              value={sql}
              spellcheck={false}
              autocomplete="off"
              placeholder="SELECT …"
              aria-describedby={failed === undefined ? "sql-help" : "sql-error sql-help"}
              aria-invalid={failed === undefined ? undefined : "true"}
              onInput={(event) => setSql(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
                event.preventDefault();
                submit(event.currentTarget.value);
              }}
            />
            {failed !== undefined && (
              <pre id="sql-error" class="sql-error" role="alert">
                {plainLines(failed)}
              </pre>
            )}
            <div class="sql-actions">
              {state.kind === "running" ? (
                <button type="button" class="button" onClick={stop}>
                  Stop
                </button>
              ) : (
                <button type="button" class="button button-primary" onClick={() => submit(sql)}>
                  Run
                </button>
              )}
              <span id="sql-help" class="help">
                <kbd>Ctrl</kbd> <kbd>Enter</kbd> runs it. One SELECT of DuckDB, over the views beside.
              </span>
            </div>
          </div>
          {state.kind === "running" && <Loading what="Running" />}
          {state.kind === "done" && <Result result={state.result} ms={state.ms} />}
          {state.kind === "idle" && (
            <Panel title="Examples">
              <ul class="rows">
                {EXAMPLES.map(({ title, sql: text }) => (
                  <li key={title} class="row">
                    <button type="button" class="button-link" onClick={() => setSql(text)}>
                      {title}
                    </button>
                  </li>
                ))}
              </ul>
            </Panel>
          )}
        </div>
        <Views onPick={(text) => setSql((old) => (old.trim() === "" ? `SELECT * FROM ${text} LIMIT 100` : `${old}${text}`))} />
      </div>
    </div>
  );
}

function Result({ result, ms }: { result: SqlResult; ms: number }) {
  const { columns, rows } = result;
  return (
    <Panel
      title="Result"
      aside={
        <span class="sql-facts" role="status">
          {plural(rows.length, "row")}
          {result.cut && " of more"}, {Math.round(ms)} ms{" "}
          <SmallButton icon="download" onClick={() => saveText(toCsv(result), "result.csv", "text/csv")}>
            CSV
          </SmallButton>
        </span>
      }
    >
      {result.cut && (
        <p class="sql-cut">
          The result is cut. Narrow it, or take all of it with <code>fetchml sql --output FILE</code>.
        </p>
      )}
      {rows.length === 0 ? (
        <Empty>No rows.</Empty>
      ) : (
        <div class="table-box sql-result" tabIndex={0} role="region" aria-label="Rows of the result">
          <table class="table">
            <thead>
              <tr>
                {columns.map((column, index) => (
                  <th key={index} scope="col" class={isNumeric(column) ? "number" : ""}>
                    {plain(column.name)} <span class="sql-type">{plain(column.type)}</span>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, SHOWN_ROWS).map((row, number) => (
                <tr key={number}>
                  {row.map((value, index) => (
                    <td key={index} class={isNumeric(columns[index] as SqlColumn) ? "number" : ""}>
                      {value === null ? <span class="muted">null</span> : plain(valueText(value))}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length > SHOWN_ROWS && (
        <p class="rows-more">The first {SHOWN_ROWS} rows are shown; the CSV has all {rows.length}.</p>
      )}
    </Panel>
  );
}

interface HistoryViews {
  views?: { name: string; description?: string; columns?: SqlColumn[] }[];
}

function Views({ onPick }: { onPick: (name: string) => void }) {
  const list = useRead<HistoryViews>("/v1/history/views");
  const views = list.data.value?.views;
  return (
    <Panel title="Views" class="sql-views">
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!views && list.error.value === undefined && <Loading />}
      {views?.map((view) => (
        <details key={view.name} class="sql-view">
          <summary>
            <code>{plain(view.name)}</code>
          </summary>
          <p class="help">
            {plain(view.description ?? "")}{" "}
            <button type="button" class="button-link" onClick={() => onPick(view.name)}>
              Insert<span class="off-screen"> {plain(view.name)}</span>
            </button>
          </p>
          <dl class="sql-fields">
            {(view.columns ?? []).map((column) => (
              <div key={column.name}>
                <dt>
                  <code>{plain(column.name)}</code> <span class="sql-type">{plain(column.type)}</span>
                </dt>
                <dd class="help">{plain(column.description ?? "")}</dd>
              </div>
            ))}
          </dl>
        </details>
      ))}
    </Panel>
  );
}

/** As `plain`, with the lines of the text: an error marks a place below a line. */
function plainLines(text: string): string {
  return text.split("\n").map(plain).join("\n");
}
