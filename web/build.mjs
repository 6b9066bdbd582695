// Bundles the page into fetchml/api/ui/files: `node build.mjs [watch | test]`. build/web.sh calls it.
//
// Names of assets carry the hash of their content, so a browser may keep them forever. Texts are
// compressed here, once, so the server never does. Equal sources give equal bytes.
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import esbuild from "esbuild";

const web = import.meta.dirname;
const files = resolve(web, "../fetchml/api/ui/files");
const tests = resolve(web, "../build/work/web-tests");
const COMPRESSED = /\.(js|css|html|svg|txt)$/;
const MIN_COMPRESSED_BYTES = 512;

const bundle = {
  absWorkingDir: web,
  entryPoints: { main: "src/main.tsx", style: "src/style.css" },
  outdir: files,
  entryNames: "assets/[name]-[hash]",
  chunkNames: "assets/[name]-[hash]",
  assetNames: "assets/[name]-[hash]",
  loader: { ".svg": "file", ".png": "file", ".woff2": "file" },
  publicPath: "/ui",
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["chrome115", "firefox115", "safari16.4"],
  minify: true,
  charset: "utf8",
  legalComments: "none", // licenses.txt has them all
  metafile: true,
  write: false,
  logLevel: "warning",
  plugins: [{ name: "write", setup: (build) => build.onEnd(writePage) }],
};

async function writePage(result) {
  if (result.errors.length > 0) return;
  const page = new Map();
  for (const output of result.outputFiles) page.set(relative(files, output.path), output.contents);
  page.set("index.html", Buffer.from(await indexHtml(result.metafile)));
  page.set("icon.svg", await readFile(join(web, "src/icon.svg")));
  page.set("licenses.txt", Buffer.from(await licenses(result.metafile)));
  const made = `${files}.new`;
  await rm(made, { recursive: true, force: true });
  for (const [name, content] of page) {
    await mkdir(dirname(join(made, name)), { recursive: true });
    await writeFile(join(made, name), content);
    if (COMPRESSED.test(name) && content.length >= MIN_COMPRESSED_BYTES) {
      await writeFile(join(made, `${name}.gz`), gzipSync(content, { level: 9 }));
      await writeFile(join(made, `${name}.br`), brotli(content));
    }
  }
  await rm(files, { recursive: true, force: true });
  await rename(made, files);
}

function brotli(content) {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT } = constants;
  return brotliCompressSync(content, {
    params: { [BROTLI_PARAM_QUALITY]: 11, [BROTLI_PARAM_SIZE_HINT]: content.length },
  });
}

/** The page, with the names of the assets that it loads first. */
async function indexHtml(metafile) {
  const template = await readFile(join(web, "src/index.html"), "utf8");
  const entries = new Map();
  for (const [path, output] of Object.entries(metafile.outputs)) {
    if (output.entryPoint === "src/main.tsx" || output.entryPoint === "src/style.css") {
      entries.set(output.entryPoint, `/ui/${relative(files, resolve(web, path))}`);
    }
  }
  return template.replace(/\{\{(.+?)\}\}/g, (_, source) => {
    const name = entries.get(source);
    if (name === undefined) throw new Error(`src/index.html names ${source}, which is no entry`);
    return name;
  });
}

/** The licenses of everything that is in the bundle, as each of them demands. */
async function licenses(metafile) {
  const packages = new Set();
  for (const output of Object.values(metafile.outputs)) {
    for (const input of Object.keys(output.inputs)) {
      const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
      if (name !== undefined) packages.add(name);
    }
  }
  const parts = ["FetchML's page contains these packages.\n"];
  for (const name of [...packages].sort()) {
    const folder = join(web, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[sc]e/i.test(entry));
    // Packages that are published without theirs have it in licenses/.
    const path = file ? join(folder, file) : join(web, "licenses", `${name.replace("/", "+")}.txt`);
    const text = (await readFile(path, "utf8")).trim();
    parts.push(`${"=".repeat(70)}\n${name} ${version} (${license})\n\n${text}\n`);
  }
  return parts.join("\n");
}

/** Bundles the tests of the page's state, for `node --test`. */
async function bundleTests() {
  await rm(tests, { recursive: true, force: true });
  const names = (await readdir(join(web, "test"))).filter((name) => /\.test\.tsx?$/.test(name));
  await esbuild.build({
    absWorkingDir: web,
    entryPoints: names.map((name) => `test/${name}`),
    outdir: tests,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    sourcemap: "inline",
    loader: { ".css": "empty", ".svg": "dataurl" },
    logLevel: "warning",
  });
}

switch (process.argv[2]) {
  case "watch": {
    const context = await esbuild.context({ ...bundle, minify: true });
    await context.watch();
    break;
  }
  case "test":
    await bundleTests();
    break;
  default:
    await esbuild.build(bundle);
}
