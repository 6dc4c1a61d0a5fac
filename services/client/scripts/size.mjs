// Fails when what the browser loads before the first paint is over the budget.
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const BUDGET = 250 * 1024;
const dist = new URL("../dist/", import.meta.url);
const manifest = JSON.parse(await readFile(new URL(".vite/manifest.json", dist), "utf8"));

const initial = new Set();
const visit = (key) => {
  const chunk = manifest[key];
  if (initial.has(chunk.file)) return;
  initial.add(chunk.file);
  chunk.imports?.forEach(visit);
};
Object.keys(manifest).filter((key) => manifest[key].isEntry).forEach(visit);

let total = 0;
for (const file of initial) total += gzipSync(await readFile(new URL(file, dist))).length;
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
console.log(`initial JavaScript: ${kib(total)} gzip in ${initial.size} file(s), budget ${kib(BUDGET)}`);
if (initial.size === 0 || total > BUDGET) process.exitCode = 1;
