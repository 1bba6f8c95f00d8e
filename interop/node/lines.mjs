// SPDX-License-Identifier: Apache-2.0
// What the scripted clients have in common: one JSON object a line.
//
// In: {"do": COMMAND, "n": NUMBER, ...}. Out: {"n": NUMBER, "ok": RESULT} or
// {"n": NUMBER, "error": TEXT} for each command, and {"event": NAME, ...}
// whenever something happens. Logs go to standard error.

import { createInterface } from 'node:readline';

export function out(what) {
  process.stdout.write(JSON.stringify(what) + '\n');
}

export function tell(event, what) {
  out({ event, ...what });
}

export function log(...what) {
  console.error(new Date().toISOString(), ...what);
}

/** Runs the commands of standard input, one after the other, until it ends. */
export async function serve(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, n, ...args } = JSON.parse(line);
    try {
      out({ n, ok: (await commands[name](args)) ?? null });
    } catch (error) {
      log('command', name, error);
      out({ n, error: String(error?.message ?? error) || 'it failed' });
    }
  }
  process.exit(0); // whatever a client still has open
}

/** Resolves with what promise does, or fails after some seconds. */
export function within(seconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits for what the client tells nobody about. */
export async function until(what, condition) {
  const end = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
