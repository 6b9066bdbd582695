/** Splits an error of the server into the rule of each field. */

/** Read `field: rule; field: rule`. A rule may itself hold these marks: only `fields` begin a part. */
export function violations(text: string, fields: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of text.split(new RegExp(`(?:^|; )(?=(?:${fields.join("|")}): )`))) {
    const mark = part.indexOf(": ");
    const name = part.slice(0, Math.max(mark, 0));
    if (fields.includes(name)) found.set(name, part.slice(mark + 2));
  }
  return found;
}
