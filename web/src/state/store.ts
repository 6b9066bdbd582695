/**
 * The page's state: read once over REST, kept current by `/ws`.
 *
 * The store holds what every view needs. A list that only one view shows is a model of that view,
 * which follows the same changes through `follow`.
 */

import { batch, computed, signal } from "@preact/signals";
import { Http, message } from "../api/http";
import { forgetToken, keptToken } from "../api/kept_token";
import { Live, MANY_CHANGES, type Change, type LiveState, type LiveWorld, type Socket } from "../api/live_socket";
import type { GpuHistory, GpuList, Health, QueueStats, TaskList, WaitingList } from "../api/model";
import { openSocket } from "../api/open_socket";
import {
  codeOwner,
  currentSession,
  signIn,
  signOut,
  type CodeOwner,
  type Credentials,
  type Session,
} from "../api/session";
import { announce } from "../ui/notes";
import { CurrentTasks } from "./current_tasks";
import { Resource } from "./resource";
import type { Follower } from "./tasks";
import { storeTheme } from "./theme";

const ENDED = "The session has ended. Sign in again.";
const SHOWN_WAITING = 50;
const HISTORY_POINTS = 60;

export class Store {
  readonly http = new Http();
  readonly session = signal<Session | null | undefined>(undefined);
  /** Why the person was signed out; shown above the sign-in form. */
  readonly farewell = signal<string | undefined>(undefined);
  readonly live = signal<LiveState>({ kind: "off" });
  /** Whether tasks of other users are visible, so that "mine" means something. */
  readonly othersExist = signal(false);

  readonly current = new CurrentTasks(this.http, () => this.defaultUser.value);
  readonly stats = new Resource((signal) => this.http.get<QueueStats>("/v1/queue", { signal }));
  readonly gpus = new Resource((signal) => this.http.get<GpuList>("/v1/gpus", { signal }));
  /** The use of the GPUs in the last hour. */
  readonly gpuHistory = new Resource((signal) =>
    this.http.get<GpuHistory>("/v1/gpus/history", { query: { points: HISTORY_POINTS }, signal }),
  );
  readonly health = new Resource((signal) => this.http.get<Health>("/health", { signal }));
  readonly waiting = new Resource((signal) =>
    this.http.get<WaitingList>("/v1/queue/waiting", { query: { limit: SHOWN_WAITING }, signal }),
  );

  readonly isAdmin = computed(() => this.session.value?.role === "admin");
  readonly maySubmit = computed(() => {
    const role = this.session.value?.role;
    return role === "user" || role === "admin";
  });
  /** The user whose tasks a list shows by default; `undefined`: everyone's. */
  readonly defaultUser = computed(() =>
    this.othersExist.value && this.maySubmit.value ? this.session.value?.user : undefined,
  );

  readonly #live: Live;
  readonly #followers = new Set<Follower>();
  #currentUsers = 0;

  constructor(world?: LiveWorld) {
    this.http.onUnauthorized = () => this.#ended(ENDED);
    this.#live = new Live(world ?? browserWorld(this), {
      changed: (changes) => this.apply(changes),
      resync: () => this.#reload(),
      state: (state) => {
        this.live.value = state;
      },
      refused: () => this.#ended(ENDED),
    });
  }

  // Signing in and out.

  /**
   * `agrees`: ask whether to sign in to the account of a code, and to end the session of the user
   * who is signed in, if there is one. Anyone can send a link with a code.
   */
  async start(
    code: string | undefined,
    agrees: (owner: CodeOwner, current: string | undefined) => Promise<boolean>,
  ): Promise<void> {
    this.http.token = keptToken();
    const hadToken = this.http.token !== null;
    let session: Session | undefined;
    let problem: string | undefined;
    try {
      session = await currentSession(this.http);
      // Where notebooks share this origin, they can write its storage too.
      if (session?.mode === "memory") session = undefined;
      if (code !== undefined && (await agrees(await codeOwner(this.http, code), session?.user))) {
        await this.signIn({ code });
        return;
      }
    } catch (error) {
      problem = message(error);
    }
    if (session) {
      await this.#begin(session);
      if (problem !== undefined) announce(problem, "problem");
    } else if (problem === undefined) this.#ended(hadToken ? ENDED : undefined);
    else {
      // The token stays: the server may only be away.
      this.session.value = null;
      this.farewell.value = problem;
    }
  }

  async signIn(credentials: Credentials): Promise<void> {
    const session = await signIn(this.http, credentials);
    storeTheme(); // The sign-in has cleared what this origin stores.
    this.farewell.value = undefined;
    await this.#begin(session);
  }

  /** Follow another tab that has signed in or out: the tabs of this origin share their storage. */
  followTabs(): void {
    const token = keptToken();
    if (token === this.http.token || this.session.value?.mode === "memory") return;
    if (token === null) this.#ended("You signed out in another tab.");
    else location.reload(); // Nothing of an earlier user stays.
  }

  async signOut(): Promise<void> {
    this.#live.stop();
    try {
      await signOut(this.http);
    } finally {
      this.#ended(undefined);
    }
  }

  async #begin(session: Session): Promise<void> {
    await this.#countOthers(session);
    this.session.value = session;
    this.#live.start();
  }

  async #countOthers(session: Session): Promise<void> {
    this.othersExist.value = false;
    if (session.private && session.role !== "admin") return;
    const query = { limit: 0 };
    try {
      const [all, own] = await Promise.all([
        this.http.get<TaskList>("/v1/tasks", { query }),
        this.http.get<TaskList>("/v1/tasks", { query: { ...query, user_id: session.user } }),
      ]);
      this.othersExist.value = own.total > 0 && all.total > own.total;
    } catch {
      // The list shows everyone's then.
    }
  }

  #ended(farewell: string | undefined): void {
    if (this.session.value === null) return;
    this.#live.stop();
    forgetToken(this.http.token);
    this.http.token = null;
    batch(() => {
      this.session.value = null;
      this.farewell.value = farewell;
      this.current.clear();
      const resources = [this.stats, this.gpus, this.gpuHistory, this.waiting];
      for (const resource of resources) resource.clear();
    });
  }

  // Changes of tasks.

  /** Follow the changes until the returned function is called. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Keep the current tasks so until the returned function is called. */
  useCurrent(): () => void {
    if (this.#currentUsers++ === 0) {
      this.#followers.add(this.current);
      void this.current.resync();
    }
    return () => {
      if (--this.#currentUsers > 0) return;
      this.#followers.delete(this.current);
      this.current.stop();
    };
  }

  apply(changes: readonly Change[]): void {
    batch(() => {
      for (const follower of this.#followers) follower.changed(changes);
    });
    this.#touch(changes.length > MANY_CHANGES);
  }

  #touch(areMany: boolean): void {
    for (const resource of [this.stats, this.waiting, this.gpus]) resource.touch(areMany);
  }

  /** Whether the person may cancel, change, delete and enter what a user owns. */
  mayEnd(owner: string | undefined): boolean {
    const isOwn = this.maySubmit.value && owner === this.session.value?.user;
    return this.isAdmin.value || isOwn;
  }

  rest(): void {
    this.#live.rest();
  }

  hurry(): void {
    this.#live.hurry();
  }

  focus(): void {
    this.#live.focus();
  }

  async #reload(): Promise<boolean> {
    this.#touch(true);
    const done = await Promise.all([...this.#followers].map((follower) => follower.resync()));
    return done.every((isDone) => isDone !== false);
  }
}

function browserWorld(store: Store): LiveWorld {
  return {
    open: (query) => openSocket(store.http, `/ws?${query}`) as Socket,
    now: () => Date.now(),
    later(ms, run) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    hasFocus: () => document.hasFocus(),
    frame(run) {
      const frame = requestAnimationFrame(run);
      return () => cancelAnimationFrame(frame);
    },
    async stillSignedIn() {
      try {
        return (await currentSession(store.http)) !== undefined;
      } catch {
        return true; // No answer at all: the server is away, not the session.
      }
    },
  };
}

export const store = new Store();
