// SPDX-License-Identifier: Apache-2.0

// `bavard demo`: nodes are killed, frozen and cut off by its buttons while two people chat in its windows.
// BAVARD_RECORD names a directory that gets pictures of it, for scripts/gif.

import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { binary, check, until } from './harness.mjs'

const RECORD = process.env.BAVARD_RECORD
const FRAME_MS = 400
/** How long one sees what a button does, in a recording. */
const SHOWN_MS = 5_000

async function start() {
  const demo = spawn(binary, ['demo'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (d) => (out += d))
  const ended = new Promise((done) => demo.once('exit', done))
  await until(`the demo's address: ${out}`, () => /Open (http:\S+)/.test(out))
  const stop = async () => {
    demo.kill('SIGINT')
    check((await ended) === 0, `the demo ended with an error: ${out}`)
  }
  return { origin: /Open (http:\S+)/.exec(out)[1], stop }
}

/** Takes pictures until it is told to end. */
function record(page) {
  if (!RECORD) return async () => undefined
  mkdirSync(RECORD, { recursive: true })
  let going = true
  const work = (async () => {
    // A page that was closed, by a test that has failed, ends it.
    for (let n = 0; going; n++) {
      const began = Date.now()
      await page.screenshot({ path: join(RECORD, `${String(n).padStart(4, '0')}.png`) })
      await new Promise((done) => setTimeout(done, Math.max(0, began + FRAME_MS - Date.now())))
    }
  })().catch(() => undefined)
  return async () => {
    going = false
    await work
  }
}

export default {
  async 'nodes are taken away and brought back, and nothing is lost or doubled'(world) {
    const demo = await start()
    try {
      await play(world, demo)
    } finally {
      await demo.stop()
    }
  },
}

async function play(world, demo) {
  const person = await world.person('demo', { viewport: { width: 1180, height: 800 } })
  person.origin = demo.origin
  const page = await person.tab('/')
  const counter = async (id) => Number((await page.locator(`#${id}`).innerText()).replace(/[^\d.]/g, ''))
  const press = (name) => page.getByRole('button', { name, exact: true }).click()
  const are = (...states) => until(`nodes that are ${states}`, async () => (await page.locator('.state').allInnerTexts()).join() === states.join())
  const goesOn = async () => {
    const before = await counter('ticked')
    await until('ticks', async () => (await counter('ticked')) > before + 5)
  }
  const show = () => (RECORD ? new Promise((done) => setTimeout(done, SHOWN_MS)) : undefined)

  const [ada, grace] = ['Ada', 'Grace'].map((name) => page.frameLocator(`iframe[title=${name}]`))
  await ada.locator('nav a', { hasText: 'Grace' }).click()
  await grace.locator('nav a', { hasText: 'Ada' }).click()
  const writes = async (from, text) => {
    const area = from.getByRole('textbox', { name: /^Message / })
    await area.fill(text)
    await area.press('Enter')
  }
  const reads = (to, text) => to.locator('.bubble', { hasText: text }).waitFor()
  const says = async (from, to, text) => {
    await writes(from, text)
    await reads(to, text)
  }
  await says(ada, grace, 'Hello Grace')
  const end = record(page)
  await says(grace, ada, 'Hello Ada')
  await goesOn()
  await show()

  await press('Kill a')
  await are('killed', 'runs', 'runs')
  await says(ada, grace, 'My node was killed')
  await goesOn()
  await show()
  await press('Bring back')
  await are('runs', 'runs', 'runs')
  await press('Freeze b')
  await are('runs', 'frozen', 'runs')
  const froze = Date.now()
  // One after the other: a page has one focus, also for two windows.
  await writes(ada, 'A node hangs, and we go on')
  await writes(grace, 'Who was on it has left it')
  await Promise.all([reads(grace, 'A node hangs, and we go on'), reads(ada, 'Who was on it has left it')])
  console.log(`      said beside a node that hangs within ${Date.now() - froze} ms`)
  await goesOn()
  await show()
  await press('Bring back')
  await are('runs', 'runs', 'runs')
  await press('Cut c')
  await are('runs', 'runs', 'cut off')
  await goesOn()
  await show()
  await press('All down')
  await are('killed', 'killed', 'killed')
  await until('messages that wait', async () => (await counter('waiting')) > 0)
  await show()
  await press('Bring back')
  await are('runs', 'runs', 'runs')
  await goesOn()
  await says(grace, ada, 'All were down')
  await show()

  await until('the archives to be read', async () => /read [0-2] s ago/.test(await page.locator('#judged').innerText()))
  for (const id of ['lost', 'doubled']) check((await counter(id)) === 0, `${id}: ${await counter(id)}`)
  await end()
}
