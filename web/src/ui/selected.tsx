/** What can be done with selected runs: compare them. */

import { SmallButton } from "./button";

/** As many as a chart can tell apart. */
export const MOST_COMPARED = 20;

interface Props {
  number: number;
  /** Of the comparison. */
  address: string;
  onClear: () => void;
}

export function Selected({ number, address, onClear }: Props) {
  if (number === 0) return <span class="muted">Select two to {MOST_COMPARED} runs to compare them</span>;
  return (
    <span class="selected">
      {number >= 2 && number <= MOST_COMPARED ? (
        <a class="button button-small button-primary" href={address}>
          Compare {number}
        </a>
      ) : (
        <span class="muted">{number < 2 ? "Select another run" : `Select at most ${MOST_COMPARED}`}</span>
      )}
      <SmallButton onClick={onClear}>Clear</SmallButton>
    </span>
  );
}
