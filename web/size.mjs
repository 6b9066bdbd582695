// Checks the size of the first view: `node size.mjs`. The first view is index.html, and what the
// scripts that it names import statically.
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";

const LIMITS = { js: 100 * 1024, css: 20 * 1024 };
const files = resolve(import.meta.dirname, "../fetchml/api/ui/files");
const text = (name) => readFileSync(resolve(files, name), "utf8");

const first = new Set();
const waiting = [...text("index.html").matchAll(/\/ui\/(assets\/[\w.-]+)/g)].map((found) => found[1]);
for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
  if (first.has(name)) continue;
  first.add(name);
  if (!name.endsWith(".js")) continue;
  // `import("…")` loads a view when it is opened: not a part of the first one.
  for (const found of text(name).matchAll(/(?:from|import)\s*"\/ui\/(assets\/[\w.-]+\.js)"/g)) {
    waiting.push(found[1]);
  }
}

for (const [type, limit] of Object.entries(LIMITS)) {
  const bytes = [...first].filter((name) => name.endsWith(`.${type}`)).map(compressed);
  const total = bytes.reduce((sum, size) => sum + size, 0);
  console.log(`web: ${type} of the first view: ${total} bytes with gzip, limit ${limit}`);
  if (total > limit) process.exitCode = 1;
}

function compressed(name) {
  try {
    return statSync(resolve(files, `${name}.gz`)).size;
  } catch {
    return statSync(resolve(files, name)).size;
  }
}
