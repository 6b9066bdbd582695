/**
 * Colours of terminals: SGR sequences of a text become spans with classes. Everything else that
 * controls a terminal is left out.
 *
 * The text is a task's word. The parser is linear, keeps no more than the style at its end, and
 * gives names of classes from fixed lists only.
 */

export interface Span {
  text: string;
  /** Names of classes; empty: plain. */
  classes: string;
}

export interface Style {
  bold: boolean;
  faint: boolean;
  italic: boolean;
  underline: boolean;
  struck: boolean;
  inverse: boolean;
  /** Number of a colour, 0 to 15; `undefined`: the default. */
  colour: number | undefined;
  ground: number | undefined;
}

export const PLAIN: Readonly<Style> = {
  bold: false,
  faint: false,
  italic: false,
  underline: false,
  struck: false,
  inverse: false,
  colour: undefined,
  ground: undefined,
};

// A control sequence (CSI), an operating system command with its end, or any other escape.
const ESCAPES =
  /\u001b\[([\u0030-\u003f]{0,256})[\u0020-\u002f]{0,8}([\u0040-\u007e])|\u001b[\]PX^_][^\u0007\u001b]{0,4096}(?:\u0007|\u001b\\)?|\u001b[\u0020-\u002f]{0,8}[\u0030-\u007e]?|\u009b/g;

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Parse one line. Returns its spans and the style at its end, with which the next line begins. */
export function parseLine(line: string, style: Style): { spans: Span[]; style: Style } {
  const spans: Span[] = [];
  let current = style;
  let from = 0;
  const add = (text: string) => {
    const shown = text.replace(CONTROLS, "");
    if (shown === "") return;
    const classes = classesOf(current);
    const last = spans.at(-1);
    if (last?.classes === classes) last.text += shown;
    else spans.push({ text: shown, classes });
  };
  for (const found of line.matchAll(ESCAPES)) {
    add(line.slice(from, found.index));
    from = found.index + found[0].length;
    if (found[2] === "m") current = applied(current, found[1] ?? "");
  }
  add(line.slice(from));
  return { spans, style: current };
}

/** What a terminal shows of a line in which carriage returns go back to its start. */
export function afterReturns(line: string): string {
  const end = line.endsWith("\r") ? line.length - 1 : line.length;
  const start = line.lastIndexOf("\r", end - 1) + 1;
  return line.slice(start, end);
}

function applied(style: Style, parameters: string): Style {
  if (/[<=>?]/.test(parameters)) return style; // A private sequence, not SGR.
  const codes = parameters.split(/[;:]/).map((text) => (text === "" ? 0 : Number(text)));
  let next: Style = { ...style };
  for (let index = 0; index < codes.length; index++) {
    const code = codes[index] as number;
    if (code === 0) next = { ...PLAIN };
    else if (code === 1) next.bold = true;
    else if (code === 2) next.faint = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.struck = true;
    else if (code === 22) next.bold = next.faint = false;
    else if (code === 23) next.italic = false;
    else if (code === 24) next.underline = false;
    else if (code === 27) next.inverse = false;
    else if (code === 29) next.struck = false;
    else if (code >= 30 && code <= 37) next.colour = code - 30;
    else if (code === 39) next.colour = undefined;
    else if (code >= 40 && code <= 47) next.ground = code - 40;
    else if (code === 49) next.ground = undefined;
    else if (code >= 90 && code <= 97) next.colour = code - 82;
    else if (code >= 100 && code <= 107) next.ground = code - 92;
    else if (code === 38 || code === 48) {
      const { colour, used } = extended(codes.slice(index + 1, index + 5));
      if (code === 38) next.colour = colour;
      else next.ground = colour;
      index += used;
    }
  }
  return next;
}

function extended(codes: readonly number[]): { colour: number | undefined; used: number } {
  const [kind, first = 0, green = 0, blue = 0] = codes;
  if (kind === 2) return { colour: nearest(first, green, blue), used: 4 };
  if (kind !== 5) return { colour: undefined, used: 0 };
  return { colour: first >= 0 && first <= 255 ? ofPalette(first) : undefined, used: 2 };
}

/** The nearest of the sixteen to a colour of the 256. */
export function ofPalette(index: number): number {
  if (index < 16) return index;
  if (index >= 232) {
    const grey = (index - 232) * 10 + 8;
    return nearest(grey, grey, grey);
  }
  const cube = index - 16;
  const level = (value: number) => (value === 0 ? 0 : value * 40 + 55);
  return nearest(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

const SIXTEEN: readonly (readonly [number, number, number])[] = [
  [0, 0, 0],
  [205, 0, 0],
  [0, 205, 0],
  [205, 205, 0],
  [0, 0, 238],
  [205, 0, 205],
  [0, 205, 205],
  [229, 229, 229],
  [127, 127, 127],
  [255, 0, 0],
  [0, 255, 0],
  [255, 255, 0],
  [92, 92, 255],
  [255, 0, 255],
  [0, 255, 255],
  [255, 255, 255],
];

/** The nearest of the sixteen to a colour of red, green and blue, 0 to 255 each. */
export function nearest(red: number, green: number, blue: number): number {
  let best = 7;
  let least = Number.POSITIVE_INFINITY;
  SIXTEEN.forEach((colour, index) => {
    const distance =
      (colour[0] - red) ** 2 + (colour[1] - green) ** 2 + (colour[2] - blue) ** 2;
    if (distance < least) {
      least = distance;
      best = index;
    }
  });
  return best;
}

export function classesOf(style: Style): string {
  const classes = [];
  if (style.bold) classes.push("sgr-bold");
  if (style.faint) classes.push("sgr-faint");
  if (style.italic) classes.push("sgr-italic");
  if (style.underline) classes.push("sgr-underline");
  if (style.struck) classes.push("sgr-struck");
  const [colour, ground] = style.inverse
    ? [style.ground ?? "inverse", style.colour ?? "inverse"]
    : [style.colour, style.ground];
  if (colour !== undefined) classes.push(`sgr-fg-${colour}`);
  if (ground !== undefined) classes.push(`sgr-bg-${ground}`);
  return classes.join(" ");
}
