/** Times of the lines of a block, read when they are wanted. */

import { useEffect, useState } from "preact/hooks";
import type { LogInfo } from "../../../api/model";
import type { Block } from "./blocks";
import type { LogWindow } from "./model";

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const date = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

type Times = LogInfo["times"];

/** Return a function from a line's offset to its time as text; empty while it is not known. */
export function useTimes(log: LogWindow, block: Block, isWanted: boolean) {
  const [times, setTimes] = useState<Times>([]);
  useEffect(() => {
    if (!isWanted) return;
    let isGone = false;
    log.times(block).then(
      (info) => {
        if (!isGone) setTimes(info.times);
      },
      () => undefined, // Lines without times are still lines.
    );
    return () => {
      isGone = true;
    };
  }, [log, block, isWanted]);
  return (offset: number) => timeAt(times, offset);
}

/** The time at which a byte was written: the last one that is not after it. */
export function timeAt(times: Times, offset: number): string {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle]?.offset ?? 0) <= offset) low = middle + 1;
    else high = middle;
  }
  const found = times[low - 1];
  if (!found) return "";
  const at = new Date(found.at);
  if (Number.isNaN(at.getTime())) return "";
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? clock.format(at) : `${date.format(at)} ${clock.format(at)}`;
}
