/** The time that a person points at, in all charts of the view; `undefined`: the last one. */

import { signal } from "@preact/signals";

export const cursor = signal<number | undefined>(undefined);
