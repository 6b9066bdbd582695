/** The lines of a terminal as spans with classes, as the log has them. */

import type { IBufferCell, Terminal } from "@xterm/headless";
import { classesOf, nearest, ofPalette, type Span, type Style } from "../log/sgr";

const CURSOR = "shell-cursor";

/** One line of the buffer. `cursor`: the column that has the cursor, if one has. */
export function spansOf(terminal: Terminal, row: number, cursor?: number): Span[] {
  const line = terminal.buffer.active.getLine(row);
  const spans: Span[] = [];
  if (!line) return spans;
  const cell = terminal.buffer.active.getNullCell();
  const end = lastColumn(terminal, row, cell);
  for (let column = 0; column < Math.max(end, (cursor ?? -1) + 1); column++) {
    if (!line.getCell(column, cell) || cell.getWidth() === 0) continue; // The rest of a wide character.
    const style = classesOf(styleOf(cell));
    const classes = column === cursor ? `${style} ${CURSOR}`.trim() : style;
    const text = cell.isInvisible() ? " " : cell.getChars() || " ";
    const last = spans.at(-1);
    if (last?.classes === classes) last.text += text;
    else spans.push({ text, classes });
  }
  return spans;
}

/** The column after the last one that shows anything. */
function lastColumn(terminal: Terminal, row: number, cell: IBufferCell): number {
  const line = terminal.buffer.active.getLine(row);
  let column = terminal.cols;
  for (; column > 0; column--) {
    if (!line?.getCell(column - 1, cell)) continue;
    if (cell.getChars() !== "" || !cell.isBgDefault() || cell.isInverse()) break;
  }
  return column;
}

function styleOf(cell: IBufferCell): Style {
  return {
    bold: cell.isBold() !== 0,
    faint: cell.isDim() !== 0,
    italic: cell.isItalic() !== 0,
    underline: cell.isUnderline() !== 0,
    struck: cell.isStrikethrough() !== 0,
    inverse: cell.isInverse() !== 0,
    colour: colour(cell.isFgRGB(), cell.isFgPalette(), cell.getFgColor()),
    ground: colour(cell.isBgRGB(), cell.isBgPalette(), cell.getBgColor()),
  };
}

function colour(isRgb: boolean, isPalette: boolean, value: number): number | undefined {
  if (isRgb) return nearest((value >> 16) & 255, (value >> 8) & 255, value & 255);
  return isPalette ? ofPalette(value) : undefined;
}
