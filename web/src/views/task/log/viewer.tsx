/** The live log of a task: opens at its end, follows, goes anywhere, searches all of it. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { downloadFile } from "../../../api/download";
import { bytes, plural } from "../../../format";
import { store } from "../../../state/store";
import { SmallButton } from "../../../ui/button";
import { memo } from "../../../ui/memo";
import { Problem } from "../../../ui/notes";
import type { Block, Line } from "./blocks";
import { LogWindow } from "./model";
import { LogSearch } from "./search";
import { SearchBar } from "./search_bar";
import { useTimes } from "./times";

const FOLLOW_EVERY_MS = 700;
/** This near to an edge of the window the next block is read (in pixels). */
const NEAR = 1_200;

interface Props {
  taskId: string;
  jobName: string;
  /** Whether the task is live: its log may grow. */
  isLive: boolean;
  attempts: number;
}

export default function LogViewer({ taskId, jobName, isLive, attempts }: Props) {
  const [attempt, setAttempt] = useState<number>();
  const log = useMemo(() => new LogWindow(store.http, taskId, attempt), [taskId, attempt]);
  const search = useMemo(() => new LogSearch(store.http, log), [log]);
  const [wraps, setWraps] = useState(true);
  const [showsTimes, setShowsTimes] = useState(false);
  const [isFollowing, setFollowing] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const anchor = useRef<{ from: number; top: number } | null>(null);
  const isAtBottom = useRef(true);

  useEffect(() => {
    void log.showEnd();
    setFollowing(true);
    return () => {
      log.stop();
      search.stop();
    };
  }, [log]);

  useFollow(log, isLive, isFollowing);

  const blocks = log.blocks.value;
  const info = log.info.value;
  const size = info?.end ?? 0;

  // Keep the visible lines where they are when blocks come and go above them.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    if (isFollowing && isAtBottom.current && log.isAtEnd) element.scrollTop = element.scrollHeight;
    else if (anchor.current) {
      const { from, top } = anchor.current;
      const held = element.querySelector<HTMLElement>(`[data-from="${from}"]`);
      if (held) element.scrollTop += held.getBoundingClientRect().top - top;
    }
    look();
  }, [blocks]);

  function look(): void {
    const element = box.current;
    if (!element) return;
    const { scrollTop, scrollHeight, clientHeight } = element;
    const distance = scrollHeight - clientHeight - scrollTop;
    isAtBottom.current = distance < 40;
    if (scrollTop < NEAR && !log.isAtStart) void log.before();
    else if (distance < NEAR && !log.isAtEnd) void log.after();
    const top = element.getBoundingClientRect().top;
    anchor.current = null;
    for (const child of element.children) {
      const place = child.getBoundingClientRect();
      if (place.bottom > top && child instanceof HTMLElement && child.dataset.from) {
        anchor.current = { from: Number(child.dataset.from), top: place.top };
        break;
      }
    }
  }

  function toEnd(): void {
    isAtBottom.current = true;
    setFollowing(true);
    anchor.current = null;
    if (log.isAtEnd && box.current) box.current.scrollTop = box.current.scrollHeight;
    else void log.showEnd();
  }

  /** Show a line, in the middle of the box. */
  async function toLine(offset: number): Promise<void> {
    isAtBottom.current = false;
    setFollowing(false);
    if (offset < log.from || offset >= log.to) {
      anchor.current = null;
      await log.show(offset);
      await new Promise(requestAnimationFrame);
    }
    const line = lineAt(box.current, offset);
    line?.scrollIntoView({ block: "center" });
  }

  return (
    <div class="log">
      <div class="log-bar">
        <SearchBar search={search} onShow={(offset) => void toLine(offset)} />
        <span class="log-space" />
        {attempts > 1 && (
          <label class="log-attempt">
            <span class="off-screen">Attempt</span>
            <select
              value={String(attempt ?? "")}
              onChange={(event) => setAttempt(Number(event.currentTarget.value) || undefined)}
            >
              <option value="">Newest attempt</option>
              {Array.from({ length: attempts }, (_, index) => (
                <option key={index} value={String(index + 1)}>
                  Attempt {index + 1}
                </option>
              ))}
            </select>
          </label>
        )}
        <Toggle name="Times" isOn={showsTimes} set={setShowsTimes} />
        <Toggle name="Wrap" isOn={wraps} set={setWraps} />
        <SmallButton
          icon="download"
          onClick={() => void downloadFile(log.path, `${jobName}.log`, { attempt })}
        >
          Download
        </SmallButton>
      </div>
      <Problem text={log.problem.value} retry={() => void log.showEnd()} />
      <div
        ref={box}
        class={`log-lines ${wraps ? "log-wrap" : ""}`}
        role="log"
        aria-label="Log"
        aria-live="off"
        aria-busy={log.isReading.value}
        tabIndex={0}
        onScroll={() => {
          look();
          setFollowing(isAtBottom.current && log.isAtEnd);
        }}
        onKeyDown={(event) => {
          if (event.key === "End") toEnd();
          else if (event.key === "Home") void toLine(info?.offset ?? 0);
          else return;
          event.preventDefault();
        }}
      >
        {info && size > 0 && log.isAtStart && info.offset > 0 && (
          <p class="log-note">The first {bytes(info.offset)} are no longer kept.</p>
        )}
        {blocks.map((block) => (
          <BlockLines
            key={block.from}
            block={block}
            log={log}
            showsTimes={showsTimes}
            query={search.query.value}
            current={search.current.value?.line_offset}
          />
        ))}
        {info && size === 0 && (
          <p class="log-note">{isLive ? "Nothing was written yet." : "Nothing was written."}</p>
        )}
      </div>
      <div class="log-foot">
        {info && size > 0 && (
          <>
            <input
              class="log-slider"
              type="range"
              aria-label="Position in the log"
              min={info.offset}
              max={size}
              value={log.isAtEnd ? size : log.from}
              aria-valuetext={`${bytes(log.from)} of ${bytes(size)}`}
              onChange={(event) => void toLine(Number(event.currentTarget.value))}
            />
            <span class="muted number">
              {log.isAtStart && log.isAtEnd
                ? `${plural(lineCount(blocks), "line")}, ${bytes(size)}`
                : `${bytes(log.from)} to ${bytes(log.to)} of ${bytes(size)}`}
            </span>
          </>
        )}
        <SmallButton icon="down" class="log-follow" aria-pressed={isFollowing} onClick={toEnd}>
          {isLive ? (isFollowing ? "Following" : "Follow") : "End"}
        </SmallButton>
      </div>
    </div>
  );
}

function Toggle({ name, isOn, set }: { name: string; isOn: boolean; set: (on: boolean) => void }) {
  return (
    <SmallButton class="toggle" aria-pressed={isOn} onClick={() => set(!isOn)}>
      {name}
    </SmallButton>
  );
}

/** Read what a growing log has gained, while it is followed and the page is visible. */
function useFollow(log: LogWindow, isLive: boolean, isFollowing: boolean): void {
  const wasLive = useRef(isLive);
  useEffect(() => {
    const read = async () => {
      if (document.visibilityState !== "visible") return;
      await log.refreshInfo();
      if (isFollowing && !log.isAtEnd) await log.after();
    };
    // What was written in the last moments comes after the end of the task.
    if (wasLive.current && !isLive) void read();
    wasLive.current = isLive;
    if (!isLive) return;
    const timer = setInterval(() => void read(), FOLLOW_EVERY_MS);
    return () => clearInterval(timer);
  }, [log, isLive, isFollowing]);
}

function lineCount(blocks: readonly Block[]): number {
  return blocks.reduce((sum, block) => sum + block.lines.length, 0);
}

function lineAt(box: HTMLElement | null, offset: number): Element | null {
  let found: Element | null = null;
  for (const line of box?.querySelectorAll<HTMLElement>("[data-offset]") ?? []) {
    if (Number(line.dataset.offset) > offset) break;
    found = line;
  }
  return found;
}

interface BlockProps {
  block: Block;
  log: LogWindow;
  showsTimes: boolean;
  query: string;
  current: number | undefined;
}

const BlockLines = memo(({ block, log, showsTimes, query, current }: BlockProps) => {
  const timeOf = useTimes(log, block, showsTimes);
  return (
    <div class="log-block" data-from={block.from}>
      {block.lines.map((line, index) => (
        <div
          key={index}
          class={line.offset === current ? "log-line log-line-current" : "log-line"}
          data-offset={line.offset}
        >
          {showsTimes && <span class="log-time">{timeOf(line.offset)}</span>}
          <LineText line={line} query={query} />
        </div>
      ))}
    </div>
  );
});

function LineText({ line, query }: { line: Line; query: string }) {
  if (line.spans.length === 0) return <>{"\n"}</>;
  return (
    <>
      {line.spans.map((span, index) =>
        query === "" ? (
          <span key={index} class={span.classes}>
            {span.text}
          </span>
        ) : (
          <span key={index} class={span.classes}>
            {marked(span.text, query)}
          </span>
        ),
      )}
    </>
  );
}

const MOST_MARKS = 50;

/** The text with each place of the query marked. */
function marked(text: string, query: string) {
  const parts = [];
  const lower = text.toLowerCase();
  const wanted = query.toLowerCase();
  let from = 0;
  // Lower case can change the length of a text: then no place would fit.
  if (lower.length === text.length)
    for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
      if (parts.length > 2 * MOST_MARKS) break;
      parts.push(text.slice(from, at), <mark>{text.slice(at, at + wanted.length)}</mark>);
      from = at + wanted.length;
    }
  parts.push(text.slice(from));
  return parts;
}

