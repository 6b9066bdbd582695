/** A shell in a running task. The terminal's state is a library's; its lines are drawn as spans. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Task } from "../../../api/model";
import { openSocket } from "../../../api/open_socket";
import { store } from "../../../state/store";
import { SmallButton } from "../../../ui/button";
import { Empty } from "../../../ui/notes";
import { pasted, sequenceOf } from "./keys";
import { spansOf } from "./screen";
import { ShellSession, type ShellSocket } from "./session";

const ROWS = 24;
const COLUMNS = 80;
const MOST = 1_000;
/** Lines that are drawn: the screen, and what was above it last. */
const DRAWN = 400;

export default function Shell({ task }: { task: Task }) {
  const [number, setNumber] = useState(0);
  if (task.status !== "running" && number === 0)
    return <Empty>A shell can be opened while the task runs.</Empty>;
  return (
    <div class="shell-tab">
      <Screen key={number} taskId={task.id} onAgain={() => setNumber(number + 1)} />
    </div>
  );
}

function Screen({ taskId, onAgain }: { taskId: string; onAgain: () => void }) {
  const box = useRef<HTMLDivElement>(null);
  const probe = useRef<HTMLSpanElement>(null);
  const input = useRef<HTMLTextAreaElement>(null);
  const session = useMemo(
    () =>
      new ShellSession(
        (rows, columns) =>
          openSocket(
            store.http,
            `/v1/tasks/${encodeURIComponent(taskId)}/shell?rows=${rows}&columns=${columns}`,
          ) as ShellSocket,
        ROWS,
        COLUMNS,
      ),
    [taskId],
  );
  useEffect(() => () => session.close(), [session]);
  const state = session.state.value;
  const { terminal } = session;

  useEffect(() => {
    if (state.kind !== "open") return undefined;
    const fit = () => {
      const size = sizeOf(box.current, probe.current);
      if (size) session.resize(...size);
    };
    fit();
    const watcher = new ResizeObserver(fit);
    if (box.current) watcher.observe(box.current);
    input.current?.focus();
    return () => watcher.disconnect();
  }, [session, state.kind]);

  return (
    <>
      <div
        ref={box}
        class="shell-screen"
        onClick={() => {
          if (getSelection()?.isCollapsed) input.current?.focus();
        }}
      >
        <span ref={probe} class="shell-probe" aria-hidden="true">
          M
        </span>
        <Lines session={session} />
        <textarea
          ref={input}
          class="shell-input"
          aria-label="Terminal input. Ctrl and M leaves it"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          disabled={state.kind !== "open"}
          onKeyDown={(event) => {
            if (event.isComposing) return;
            if (event.ctrlKey && event.key === "m") {
              // Tab is the terminal's: without this, a keyboard could not leave it.
              event.preventDefault();
              event.currentTarget.blur();
              return;
            }
            const text = sequenceOf(event, terminal.modes.applicationCursorKeysMode);
            if (text === undefined) return;
            event.preventDefault();
            session.type(text);
          }}
          onInput={(event) => {
            session.type(event.currentTarget.value);
            event.currentTarget.value = "";
          }}
          onPaste={(event) => {
            event.preventDefault();
            const text = event.clipboardData?.getData("text/plain") ?? "";
            session.type(pasted(text, terminal.modes.bracketedPasteMode));
          }}
        />
      </div>
      <p class="shell-foot muted" role="status">
        {state.kind === "connecting" && "Connecting…"}
        {state.kind === "open" && "Leaving this tab ends the shell. Ctrl+M leaves the terminal."}
        {state.kind === "ended" && (
          <>
            {state.why}{" "}
            <SmallButton onClick={onAgain}>
              Open another one
            </SmallButton>
          </>
        )}
      </p>
    </>
  );
}

function Lines({ session }: { session: ShellSession }) {
  const list = useRef<HTMLDivElement>(null);
  const version = session.version.value;
  const buffer = session.terminal.buffer.active;
  const cursor = buffer.baseY + buffer.cursorY;
  const last = buffer.baseY + session.terminal.rows;
  const first = Math.max(0, last - DRAWN);
  // What the program writes stays in view, unless the user has scrolled up.
  const isAtEnd = useRef(true);
  useLayoutEffect(() => {
    if (isAtEnd.current && list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [version]);
  const rows = [];
  for (let row = first; row < last; row++)
    rows.push(
      <div key={row} class="shell-line">
        {spansOf(session.terminal, row, row === cursor ? buffer.cursorX : undefined).map(
          ({ text, classes }, index) => (
            <span key={index} class={classes}>
              {text}
            </span>
          ),
        )}
      </div>,
    );
  return (
    <div
      ref={list}
      class="shell-lines"
      role="log"
      aria-label="Terminal"
      tabIndex={0}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        isAtEnd.current = scrollTop + clientHeight >= scrollHeight - 4;
      }}
    >
      {rows}
    </div>
  );
}

/** Rows and columns that fit; `undefined` while nothing is laid out. */
function sizeOf(box: HTMLElement | null, probe: HTMLElement | null): [number, number] | undefined {
  const letter = probe?.getBoundingClientRect();
  if (!box || !letter || letter.width === 0 || letter.height === 0) return undefined;
  const fitting = (space: number, one: number) => Math.min(MOST, Math.max(2, Math.floor(space / one)));
  const style = getComputedStyle(box);
  const padding = Number.parseFloat(style.paddingLeft) * 2;
  return [
    fitting(box.clientHeight - padding, letter.height),
    fitting(box.clientWidth - padding - 16, letter.width),
  ];
}
