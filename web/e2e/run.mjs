// SPDX-License-Identifier: Apache-2.0

// Runs the browser tests, or those named on the command line: `node e2e/run.mjs
// chat crash`. Each file has a server and a browser of its own, and two of them run
// side by side: a person's browser mostly waits. What is timed has the machine to itself.

import { appendFileSync } from 'node:fs'

import { World } from './harness.mjs'

// Those that take longest come first.
const together = ['access', 'media', 'groups', 'devices', 'history', 'network', 'chat', 'talk', 'tabs', 'actions', 'notices', 'crash', 'restore', 'demo', 'admin', 'outage', 'own', 'full', 'profile', 'people', 'offline', 'clients', 'open']
const alone = ['budgets']

const named = process.argv.slice(2)
const chosen = (files) => (named.length > 0 ? named.filter((name) => files.includes(name)) : files)
const unknown = named.filter((name) => ![...together, ...alone].includes(name))
if (unknown.length > 0) {
  console.error(`no such browser tests: ${unknown.join(', ')}; there are: ${[...together, ...alone].join(', ')}`)
  process.exit(2)
}

let failed = 0

/** Says that a test failed, also in the file that FAILURES names: the output is long, and not all of it is kept everywhere. */
function failure(text) {
  failed++
  console.log(text)
  if (process.env.FAILURES) appendFileSync(process.env.FAILURES, `${text}\n`)
}

async function run(name) {
  let tests, world
  try {
    const file = await import(`./${name}.mjs`)
    tests = file.default
    world = await World.make({ whole: file.whole })
  } catch (e) {
    return failure(`FAIL  ${name}: it did not start\n      ${String(e.stack ?? e).replaceAll('\n', '\n      ')}`)
  }
  for (const [what, test] of Object.entries(tests)) {
    const began = Date.now()
    try {
      await test(world)
      world.noErrors()
      console.log(`ok    ${name}: ${what} (${Date.now() - began} ms)`)
    } catch (e) {
      const lines = [...String(e.stack ?? e).split('\n'), ...world.people.flatMap((p) => p.errors)]
      failure(`FAIL  ${name}: ${what}\n      ${lines.join('\n      ')}`)
      const out = process.env.BAVARD_E2E_FAILED
      if (out) for (const [i, p] of world.people.entries()) await p.page?.screenshot({ path: `${out}/${name}-${i}.png` }).catch(() => undefined)
    }
    for (const p of world.people.splice(0)) await p.close().catch(() => undefined)
    // One test's failure is not that of all that follow.
    if (!world.server.running) await world.server.start()
  }
  await world.close()
}

/** Runs all files, so many at a time. */
async function all(files, most) {
  const left = [...files]
  const work = async () => {
    for (let name; (name = left.shift()); ) await run(name)
  }
  await Promise.all(Array.from({ length: most }, work))
}

await all(chosen(together), 2)
await all(chosen(alone), 1)
process.exit(failed > 0 ? 1 : 0)
