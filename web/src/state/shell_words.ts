/** Words of a command line, split by the rules of a POSIX shell, as the server splits `args`. */

export type Words = { words: string[] } | { fault: string };

export function shellWords(text: string): Words {
  const words: string[] = [];
  let word: string | undefined;
  let quote: "'" | '"' | undefined;
  for (let index = 0; index < text.length; index++) {
    const mark = text[index] as string;
    if (quote === "'") {
      if (mark === "'") quote = undefined;
      else word += mark;
    } else if (mark === "\\") {
      const next = text[++index];
      if (next === undefined) return { fault: "a backslash ends it" };
      // Between double quotes a backslash only escapes itself and the quote.
      word = (word ?? "") + (quote && next !== '"' && next !== "\\" ? mark + next : next);
    } else if (quote === '"') {
      if (mark === '"') quote = undefined;
      else word += mark;
    } else if (mark === "'" || mark === '"') {
      quote = mark;
      word ??= "";
    } else if (/[ \t\r\n]/.test(mark)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + mark;
  }
  if (quote !== undefined) return { fault: `a quotation mark ${quote} is not closed` };
  if (word !== undefined) words.push(word);
  return { words };
}
