/** The frame around every view: navigation, state of the connection, person. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { Session } from "./api/session";
import { duration, plain } from "./format";
import { href, route, type ViewProps } from "./router";
import { now } from "./state/clock";
import { store } from "./state/store";
import { nextTheme, theme } from "./state/theme";
import { IconButton, SmallButton } from "./ui/button";
import { Icon } from "./ui/icon";
import { useLoaded, type Load } from "./ui/lazy";
import { Loading, Problem } from "./ui/notes";
import { useTitle } from "./ui/use";
import { findView, VIEWS } from "./views";

export function Shell({ session }: { session: Session }) {
  const [isOpen, setOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  const { parts } = route.value;
  const found = findView(parts, session.role);
  const address = parts.join("/");
  const isFirst = useRef(true);

  // A new view takes the focus, so that keyboards and screen readers start at its top.
  useEffect(() => {
    setOpen(false);
    if (isFirst.current) isFirst.current = false;
    else main.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [address]);

  return (
    <div class="shell">
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to content
      </button>
      <header class="bar">
        <a class="brand" href={href([])}>
          <span class="brand-mark" aria-hidden="true" />
          FetchML
        </a>
        <button
          type="button"
          class="button-icon bar-menu"
          aria-label="Menu"
          aria-expanded={isOpen}
          aria-controls="navigation"
          onClick={() => setOpen(!isOpen)}
        >
          <Icon name={isOpen ? "close" : "menu"} />
        </button>
        <nav id="navigation" class={isOpen ? "nav nav-open" : "nav"} aria-label="Views">
          <ul>
            {VIEWS.filter((view) => view.icon && (view.roles?.includes(session.role) ?? true)).map(
              (view) => (
                <li key={view.path}>
                  <a
                    href={href(view.path.split("/").filter(Boolean))}
                    aria-current={
                      isCurrent(view.path, parts) ? (view === found?.view ? "page" : true) : undefined
                    }
                  >
                    {view.icon && <Icon name={view.icon} />}
                    {view.title}
                  </a>
                </li>
              ),
            )}
          </ul>
          <Person session={session} />
        </nav>
        <LiveMark />
      </header>
      <main ref={main} id="main" class="main" tabIndex={-1}>
        {found ? (
          <LazyView key={found.view.path} load={found.view.load} title={found.view.title} params={found.params} />
        ) : (
          <NotFound />
        )}
      </main>
    </div>
  );
}

function isCurrent(path: string, parts: readonly string[]): boolean {
  return path === "" ? parts.length === 0 : parts[0] === path.split("/")[0];
}

interface LazyProps {
  load: Load<ViewProps>;
  title: string;
  params: Readonly<Record<string, string>>;
}

function LazyView({ load, title, params }: LazyProps) {
  useTitle(title);
  const { View, problem } = useLoaded(load);
  if (problem) return <Problem text={problem} retry={() => location.reload()} />;
  return View ? <View params={params} /> : <Loading />;
}

function NotFound() {
  useTitle("Not found");
  return (
    <div class="view">
      <h1>Not found</h1>
      <p>
        Page not found, or not allowed for your role. <a href={href([])}>To the overview</a>
      </p>
    </div>
  );
}

function Person({ session }: { session: Session }) {
  return (
    <div class="person">
      <span class="person-name" title={`Role: ${session.role}`}>
        {plain(session.user)} <span class="muted">{session.role}</span>
      </span>
      <IconButton
        icon="theme"
        label={`Colours: ${theme.value}. Change`}
        title={`Colours: ${theme.value}`}
        onClick={nextTheme}
      />
      <SmallButton onClick={() => void store.signOut()}>
        Sign out
      </SmallButton>
      {session.mode === "memory" && (
        <p class="person-note" title={session.reason}>
          A reload asks for the key again: the session is in the memory of this page only.
        </p>
      )}
    </div>
  );
}

/** Whether what the page shows is current. */
function LiveMark() {
  const state = store.live.value;
  const isLive = state.kind === "live";
  const text =
    state.kind === "live"
      ? "Live"
      : state.kind === "lost"
        ? `Not live for ${duration(now.value - state.since)}`
        : "Connecting";
  return (
    <div class={`live live-${state.kind}`} role="status">
      <span class="live-dot" aria-hidden="true" />
      <span>{text}</span>
      {!isLive && state.kind === "lost" && (
        <SmallButton onClick={() => store.hurry()}>
          Reconnect
        </SmallButton>
      )}
    </div>
  );
}
