// SPDX-License-Identifier: Apache-2.0

// The admin page of a cell of three: its link, its charts, and what it says when nodes die.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { audit } from './access.mjs'
import { binary, check, picture, Server, until } from './harness.mjs'

const NAMES = ['a', 'b', 'c']
/** A node takes so many ports in a row. */
const PORTS = 3

const listening = (port) =>
  new Promise((done) => {
    const l = createServer().once('error', () => done()).listen(port, '127.0.0.1', () => done(l))
  })

/**
 * A port that is free, with those after it. They are held until all nodes have theirs. Neither clients' own ports nor those that
 * `bavard demo` looks for are in this range: a node that was killed finds its own free again.
 */
async function freePorts(held) {
  for (;;) {
    const port = 31_010 + Math.floor(Math.random() * 1_700)
    const all = await Promise.all(Array.from({ length: PORTS }, (_, i) => listening(port + i)))
    held.push(...all.filter(Boolean))
    if (all.every(Boolean)) return port
  }
}

/** Three nodes, all of which have an admin page. */
async function cell(dir) {
  execFileSync(binary, ['cell', 'init', '--domain', 'localhost', '--nodes', NAMES.join(), '--out', dir], { stdio: ['ignore', 'ignore', 'inherit'] })
  const held = []
  const addresses = []
  for (const name of NAMES) addresses.push(`${name}=127.0.0.1:${await freePorts(held)}`)
  const page = await freePorts(held)
  await Promise.all(held.map((l) => new Promise((done) => l.close(done))))
  const nodes = NAMES.map((name, i) => {
    const file = join(dir, `${name}.toml`)
    writeFileSync(file, `[admin]\nlisten = "127.0.0.1:${page + i}"\n`)
    const node = new Server('--config', file, '--node', name, '--cell', addresses.join())
    execFileSync(binary, ['cell', 'join', join(dir, `${name}.cell`), '--data', node.data], { stdio: ['ignore', 'ignore', 'inherit'] })
    return node
  })
  await Promise.all(nodes.map((n) => n.start()))
  return nodes
}

const link = (node) => execFileSync(binary, ['admin', '--data', node.data], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()

export default {
  async 'the admin page shows three nodes live, who has died and who is back, to who has a link'(world) {
    const dir = mkdtempSync(join(tmpdir(), 'bavard-e2e-admin-'))
    const nodes = await cell(dir)
    try {
      await play(world, nodes)
    } finally {
      for (const p of world.people.splice(0)) await p.close()
      await Promise.all(nodes.map((n) => n.close()))
      rmSync(dir, { recursive: true })
    }
  },
}

async function play(world, nodes) {
  const person = await world.person('operator')
  const address = link(nodes[0])
  person.origin = ''
  const page = await person.tab(address)
  const is = (name, state) => page.locator(`[data-node=${name}][data-state="${state}"]`).waitFor()
  for (const name of NAMES) await is(name, 'ready')
  check(!page.url().includes('#'), `the token stays in the address: ${page.url()}`)
  await page.getByText('3 of 3 nodes ready').waitFor()
  await until('one node to lead', async () => (await page.getByText('leads', { exact: true }).count()) === 1)

  // Another tab with the same link is told why it sees nothing.
  const late = await (await world.person('late')).tab(null)
  await late.goto(address)
  await late.getByText('This link was opened before').waitFor()
  check((await late.locator('.node').count()) === 0, 'it sees nodes')

  // What is stored is drawn, by the node that took it, and stands in the table.
  nodes[1].usersNamed(Array.from({ length: 150 }, (_, i) => `person${i}`))
  const chart = (title) => page.locator('.chart', { has: page.getByRole('heading', { name: title }) })
  const line = (title) => chart(title).locator('path.line.n1')
  await until('what is stored to be drawn', () => line('Stored').evaluate((path) => path.getBBox().height > 20))
  await until('how long it took to be drawn', () => line('Time to store').evaluate((path) => path.getAttribute('d').startsWith('M')))
  await chart('Room on the disk').getByText('as a table').click()
  await until('the disk in the table', async () => /\d [GTM]iB/.test(await chart('Room on the disk').locator('.legend').innerText()))
  await until('a column for each node', async () => (await chart('Room on the disk').locator('thead th').allInnerTexts()).join() === 'Time,a,b,c')
  await page.keyboard.press('Space')
  await page.evaluate(() => document.activeElement.blur())

  // A node dies: it is told since when, with what it means, in every colour and width.
  await nodes[2].kill()
  await is('c', 'does not answer')
  await page.locator('[data-node=c]').getByText(/^since \d\d:\d\d:\d\d/).waitFor()
  await page.locator('#warnings').getByText('node-away').first().waitFor()
  await page.getByText('2 of 3 nodes ready').waitFor()
  for (const [where, viewport, colorScheme] of [['', { width: 1180, height: 760 }, 'light'], ['-dark', { width: 1180, height: 760 }, 'dark'], ['-phone', { width: 390, height: 760 }, 'dark']]) {
    await page.setViewportSize(viewport)
    await page.emulateMedia({ colorScheme })
    await page.evaluate(() => scrollTo(0, 0))
    await audit(page, `the admin page${where}`)
    check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `it is wider than ${viewport.width} px`)
    await picture(page, `admin${where}`)
  }
  await nodes[2].start()
  await is('c', 'ready')

  // The server of the page goes: it is said, and what was known stays.
  await nodes[0].kill()
  await page.getByRole('alert').getByText('does not answer, since').waitFor()
  await page.locator('[data-node=b]').waitFor()
  await nodes[0].start()
  await page.getByText('the server was started again').waitFor()
  await page.goto(link(nodes[0])) // the fragment alone is another
  await page.getByText('3 of 3 nodes ready').waitFor()
}
