/**
 * Which element shows which row of a scrolling window. A row keeps its element while it is in the
 * window; one that enters takes over an element whose row has left. Most of what it shows is there
 * already then: the browser makes, styles and lays out little.
 */
export class Slots {
  /** Slot by the key of its row, in the order of the rows. */
  #slots: ReadonlyMap<string, number> = new Map();
  #made = 0;

  /**
   * Return the slot of each row. `held`: the key of a row whose element no other row takes over,
   * because a person uses it.
   */
  assign(keys: readonly string[], held: string | undefined): number[] {
    const shown = new Set(keys);
    const free: number[] = [];
    for (const [key, slot] of this.#slots) if (!shown.has(key) && key !== held) free.push(slot);
    const slots = new Map<string, number>();
    let next = 0;
    for (const key of keys) slots.set(key, this.#slots.get(key) ?? free[next++] ?? this.#made++);
    this.#slots = slots;
    return [...slots.values()];
  }
}
