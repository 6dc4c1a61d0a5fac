// What browsers say, hear and show keeps the same promises as any other client.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

/** Presence is judged 45 s after the last change only, and resources in long runs. */
const MAY_BE_SILENT = ['I12', 'I20'];

test('a recorded talk keeps every promise, with a network that goes and a reload', async () => {
  const program = process.env.CHAT_RECORDED;
  assert(program, 'CHAT_RECORDED is not set: cargo run -p chat-e2e --example stack');
  const run = await promisify(execFile)(program, ['node', 'recorded_talk.mjs'], {
    cwd: import.meta.dirname,
    timeout: 280_000,
  }).catch((error) => error);
  const { stdout } = run;
  assert.ok(!run.code, `${stdout}${run.stderr}`);
  const verdicts = [...stdout.matchAll(/^(I\d+) +(\w+)/gm)].map(([, name, verdict]) => ({ name, verdict }));
  assert.ok(verdicts.length >= 18, stdout);
  for (const { name, verdict } of verdicts) {
    const held = verdict === 'holds' || (verdict === 'nothing' && MAY_BE_SILENT.includes(name));
    assert.ok(held, `${name}: ${stdout}`);
  }
});
