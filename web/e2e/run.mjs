// SPDX-License-Identifier: Apache-2.0

// Runs the browser tests one after the other, or those named on the command
// line: `node e2e/run.mjs chat crash`. Each has a server of its own.

import { World } from './harness.mjs'

const all = ['chat', 'actions', 'groups', 'profile', 'devices', 'open', 'clients', 'media', 'crash', 'network', 'offline', 'tabs', 'history', 'access', 'budgets']
const chosen = process.argv.slice(2)
let failed = 0

for (const name of chosen.length > 0 ? chosen : all) {
  const { default: tests } = await import(`./${name}.mjs`)
  const world = await World.make()
  for (const [what, test] of Object.entries(tests)) {
    const began = Date.now()
    try {
      await test(world)
      world.noErrors()
      console.log(`ok    ${name}: ${what} (${Date.now() - began} ms)`)
    } catch (e) {
      failed++
      console.log(`FAIL  ${name}: ${what}\n      ${String(e.stack ?? e).replaceAll('\n', '\n      ')}`)
      for (const error of world.people.flatMap((p) => p.errors)) console.log(`      ${error}`)
      const out = process.env.BAVARD_E2E_FAILED
      if (out) for (const [i, p] of world.people.entries()) await p.page?.screenshot({ path: `${out}/${name}-${i}.png` }).catch(() => undefined)
    }
    for (const p of world.people.splice(0)) await p.close().catch(() => undefined)
    // One test's failure is not that of all that follow.
    if (!world.server.running) await world.server.start()
  }
  await world.close()
}
process.exit(failed > 0 ? 1 : 0)
