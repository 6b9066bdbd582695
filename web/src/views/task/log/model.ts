/**
 * The log of a task as a window over its bytes. Only the blocks around the visible lines are held;
 * the rest stays on the server, however large the log is.
 */

import { signal } from "@preact/signals";
import { isAbort, message, type Http } from "../../../api/http";
import type { LogInfo } from "../../../api/model";
import { BLOCK_BYTES, blockOf, MOST_LINES, type Block } from "./blocks";

/** Most blocks that are held, hence shown. */
const MOST_BLOCKS = 6;

export class LogWindow {
  readonly blocks = signal<readonly Block[]>([]);
  readonly info = signal<LogInfo | undefined>(undefined);
  readonly problem = signal<string | undefined>(undefined);
  readonly isReading = signal(false);
  /** Attempt that is shown; `undefined`: the newest. */
  readonly attempt: number | undefined;

  readonly #http: Http;
  readonly #path: string;
  #reading = new AbortController();
  #isBusy = false;

  constructor(http: Http, taskId: string, attempt: number | undefined) {
    this.#http = http;
    this.#path = `/v1/tasks/${encodeURIComponent(taskId)}/logs`;
    this.attempt = attempt;
  }

  get path(): string {
    return this.#path;
  }

  /** First byte of the window. */
  get from(): number {
    return this.blocks.value[0]?.from ?? 0;
  }

  /** First byte after the window. */
  get to(): number {
    return this.blocks.value.at(-1)?.to ?? 0;
  }

  get isAtStart(): boolean {
    return this.from <= (this.info.value?.offset ?? 0);
  }

  get isAtEnd(): boolean {
    return this.to >= (this.info.value?.end ?? 0);
  }

  /** Show the end of the log. */
  async showEnd(): Promise<void> {
    await this.#restart(async (signal) => {
      const info = await this.#readInfo(signal);
      const from = Math.max(info.offset, info.end - BLOCK_BYTES);
      const read = await this.#read(from, BLOCK_BYTES, signal);
      const isStart = read.offset <= info.offset;
      return blockOf(read.bytes, read.offset, "last", isStart, true);
    });
  }

  /** Show the lines from this byte on. */
  async show(offset: number): Promise<void> {
    await this.#restart(async (signal) => {
      const info = await this.#readInfo(signal);
      const from = Math.min(Math.max(offset, info.offset), Math.max(info.offset, info.end - 1));
      const read = await this.#read(from, BLOCK_BYTES, signal);
      const isEnd = read.offset + read.bytes.length >= info.end;
      return blockOf(read.bytes, read.offset, "first", from === offset || from === info.offset, isEnd);
    });
  }

  /** Read what comes before the window. */
  async before(): Promise<void> {
    const info = this.info.value;
    const to = this.from;
    if (!info || this.isAtStart) return;
    await this.#extend(async (signal) => {
      const from = Math.max(info.offset, to - BLOCK_BYTES);
      const read = await this.#read(from, to - from, signal);
      if (read.offset >= to) {
        // The bytes before the window were dropped meanwhile.
        this.info.value = { ...info, offset: to };
        return;
      }
      const block = blockOf(read.bytes, read.offset, "last", read.offset <= info.offset, false);
      this.blocks.value = [block, ...this.blocks.value].slice(0, MOST_BLOCKS);
    });
  }

  /** Read what follows the window; at the end of the log, what was written since. */
  async after(): Promise<void> {
    await this.#extend(async (signal) => {
      const { to } = this;
      const open = this.blocks.value.at(-1)?.open;
      // A line that has not ended is read again, unless it is endless.
      const from = open !== undefined && to - open < BLOCK_BYTES / 2 ? open : to;
      const read = await this.#read(from, BLOCK_BYTES, signal);
      const info = this.info.value;
      if (info && read.end !== info.end) this.info.value = { ...info, end: read.end };
      if (read.offset + read.bytes.length <= to) return;
      const isEnd = read.offset + read.bytes.length >= read.end;
      this.#append(blockOf(read.bytes, read.offset, "first", true, isEnd), from);
    });
  }

  /** Whether more may come: ask again. Also finds out that a new attempt has begun. */
  async refreshInfo(): Promise<void> {
    try {
      await this.#readInfo(this.#reading.signal);
    } catch (error) {
      if (!isAbort(error)) this.problem.value = message(error);
    }
  }

  /** Times of the bytes of a block, in their order. */
  times(block: Block): Promise<LogInfo> {
    return this.#http.get<LogInfo>(`${this.#path}/info`, {
      query: { attempt: this.attempt, offset: block.from, limit: block.to - block.from },
      signal: this.#reading.signal,
    });
  }

  stop(): void {
    this.#reading.abort();
  }

  /** `from`: the byte at which the block was expected to begin. */
  #append(block: Block, from: number): void {
    const blocks = [...this.blocks.value];
    const last = blocks.pop();
    if (block.from !== from) blocks.length = 0; // Bytes between were dropped.
    else if (last) {
      const before = upTo(last, from);
      // Short pieces of a growing log become one block.
      if (isSmall(before, block)) blocks.push(joined(before, block));
      else blocks.push(before, block);
    }
    if (blocks.length === 0) blocks.push(block);
    this.blocks.value = blocks.slice(-MOST_BLOCKS);
  }

  /** Replace the window. A read that is under way is given up. */
  async #restart(read: (signal: AbortSignal) => Promise<Block>): Promise<void> {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#isBusy = false;
    await this.#extend(async (signal) => {
      const block = await read(signal);
      this.blocks.value = [block];
    });
  }

  async #extend(act: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#isBusy) return;
    const { signal } = this.#reading;
    this.#isBusy = this.isReading.value = true;
    try {
      await act(signal);
      this.problem.value = undefined;
    } catch (error) {
      if (!isAbort(error)) this.problem.value = message(error);
    } finally {
      if (signal === this.#reading.signal) this.#isBusy = this.isReading.value = false;
    }
  }

  async #readInfo(signal: AbortSignal): Promise<LogInfo> {
    // One byte's times: only the bounds are of interest here.
    const query = { attempt: this.attempt, limit: 1 };
    const info = await this.#http.get<LogInfo>(`${this.#path}/info`, { query, signal });
    this.info.value = info;
    return info;
  }

  async #read(
    offset: number,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ bytes: Uint8Array; offset: number; end: number }> {
    // The attempt of the window, even if another one has begun meanwhile.
    const attempt = this.attempt ?? (this.info.value?.attempt || undefined);
    const query = { attempt, offset, limit };
    const reply = await this.#http.send("GET", this.#path, { query, signal });
    const bytes = new Uint8Array(await reply.arrayBuffer());
    const first = Number(reply.headers.get("X-FetchML-Log-Offset") ?? offset);
    const end = Number(reply.headers.get("X-FetchML-Log-End") ?? first + bytes.length);
    return { bytes, offset: first, end };
  }
}

function isSmall(last: Block, next: Block): boolean {
  return (
    next.to - last.from <= BLOCK_BYTES && last.lines.length + next.lines.length <= MOST_LINES
  );
}

function joined(last: Block, next: Block): Block {
  return { ...next, from: last.from, lines: [...last.lines, ...next.lines] };
}

/** The block without its lines from a byte on. */
function upTo(block: Block, to: number): Block {
  if (to >= block.to) return block;
  return { from: block.from, to, lines: block.lines.filter((line) => line.offset < to) };
}

