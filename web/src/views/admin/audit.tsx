/** The audit: who did what, the newest first. The filters are in the address. */

import { useEffect, useState } from "preact/hooks";
import { isAbort, message } from "../../api/http";
import type { AuditEntry, AuditList } from "../../api/types";
import { time } from "../../filters";
import { plain, shortId } from "../../format";
import { href, route, setQuery } from "../../router";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { Table } from "../../ui/table";
import { TextFilter } from "../../ui/text_filter";
import { At } from "../../ui/time";

const PAGE = 100;
const FILTERS = [
  ["user_id", "User", ""],
  ["action", "Action", "task.cancel"],
  ["target", "Id of the target", ""],
] as const;
const COLUMNS = ["Time", "User", "Action", "Target", "Outcome", "Detail", "Address"];

export function Audit() {
  const { query } = route.value;
  const filter = {
    user_id: query.get("user_id") ?? "",
    action: query.get("action") ?? "",
    target: query.get("target") ?? "",
    since: time(query.get("since") ?? undefined) ?? "",
  };
  const key = JSON.stringify(filter);
  const [entries, setEntries] = useState<readonly AuditEntry[]>();
  const [hasMore, setMore] = useState(false);
  const [problem, setProblem] = useState<string>();
  const [before, setBefore] = useState<{ key: string; id: string }>();

  useEffect(() => {
    // A page after those that are shown; another filter begins again.
    const after = before?.key === key ? before.id : "";
    const reading = new AbortController();
    if (after === "") setEntries(undefined);
    store.http
      .get<AuditList>("/v1/audit", {
        query: { ...filter, before: after, limit: PAGE },
        signal: reading.signal,
      })
      .then((page) => {
        setEntries((old) => [...(after === "" ? [] : (old ?? [])), ...page.entries]);
        setMore(page.entries.length === PAGE);
        setProblem(undefined);
      })
      .catch((error: unknown) => {
        if (!isAbort(error)) setProblem(message(error));
      });
    return () => reading.abort();
  }, [key, before]);

  return (
    <>
      <form
        class="field-grid audit-filters"
        role="search"
        onSubmit={(event) => event.preventDefault()}
      >
        {FILTERS.map(([name, label, placeholder]) => (
          <label key={name} class="field">
            <span class="field-name">{label}</span>
            <TextFilter
              value={filter[name]}
              placeholder={placeholder}
              onChange={(text) => setQuery({ [name]: text })}
            />
          </label>
        ))}
        <label class="field">
          <span class="field-name">Since</span>
          <input
            type="date"
            value={query.get("since")?.slice(0, 10) ?? ""}
            onChange={(event) => setQuery({ since: event.currentTarget.value })}
          />
        </label>
      </form>
      <Problem text={problem} />
      {!entries ? (
        !problem && <Loading />
      ) : (
        <Panel title="Entries">
          {entries.length === 0 ? (
            <Empty>No entry matches.</Empty>
          ) : (
            <Table label="Audit" columns={COLUMNS}>
              {entries.map((entry) => (
                <Row key={entry.id} entry={entry} />
              ))}
            </Table>
          )}
          {hasMore && (
            <p class="rows-more">
              <SmallButton onClick={() => setBefore({ key, id: entries.at(-1)?.id ?? "" })}>
                Older
              </SmallButton>
            </p>
          )}
        </Panel>
      )}
    </>
  );
}

function Row({ entry }: { entry: AuditEntry }) {
  const { target = "" } = entry;
  const isTask = entry.action.startsWith("task.") && entry.action !== "task.delete";
  return (
    <tr>
      <td class="audit-time">
        <At at={entry.at} />
      </td>
      <td>{plain(entry.user_id ?? "")}</td>
      <td>{entry.action}</td>
      <td>
        {isTask && target !== "" ? (
          <a href={href(["tasks", target])} title={target}>
            {plain(shortId(target))}
          </a>
        ) : (
          <span title={target}>{plain(target.length > 20 ? shortId(target) : target)}</span>
        )}
      </td>
      <td class={entry.outcome === "OK" ? "" : "field-error"}>{plain(entry.outcome)}</td>
      <td class="wide">{plain(entry.detail ?? "")}</td>
      <td>{plain(entry.address ?? "")}</td>
    </tr>
  );
}
