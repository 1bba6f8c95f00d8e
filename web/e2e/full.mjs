// SPDX-License-Identifier: Apache-2.0

// A device whose storage is full: what the server has makes room, what is written is kept or said not to be.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { audit } from './access.mjs'
import { check, picture, shown, stored, until } from './harness.mjs'

/** Writes as fast as the app takes it: lines that fill a store. */
const burst = (page, from, count, length) =>
  page.evaluate(
    async ([from, count, length]) => {
      const area = document.querySelector('textarea')
      for (let i = from; i < from + count; i++) {
        area.value = `line ${i} ${Array.from({ length: length / 10 }, () => Math.random().toString(36).slice(2, 12)).join('')}`
        area.dispatchEvent(new Event('input', { bubbles: true }))
        area.form.requestSubmit()
        if (i % 10 === 9) await new Promise((done) => setTimeout(done, 20))
      }
    },
    [from, count, length],
  )

/** A browser looks so rarely how much room there is. */
const LOOKED_MS = 31_000

/** Lets a person's browser keep so many bytes more than it does; all it likes, for undefined. At once, where it did not look yet. */
async function limit(p, more, looked = true) {
  const cdp = await p.context.newCDPSession(p.page)
  const { usage } = await cdp.send('Storage.getUsageAndQuota', { origin: p.origin })
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: p.origin, ...(more !== undefined && { quotaSize: usage + more }) })
  p.held = cdp // the limit lasts as long as who asked for it
  if (more !== undefined && looked) await new Promise((done) => setTimeout(done, LOOKED_MS))
}

const numbers = (bodies) => bodies.flatMap((b) => /^line (\d+) /.exec(b)?.[1] ?? []).map(Number)
const inOrder = (all) => all.every((n, i) => i === 0 || n === all[i - 1] + 1)

export default {
  async 'old messages make room for new ones, and come back; nothing that is written is lost'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    const said = async (p) => numbers((await stored(p.page)).map((m) => m.body))
    await burst(bob.page, 0, 300, 1_000)
    await until('all of it', async () => (await said(alice)).length === 300)
    await limit(alice, 50_000)
    await burst(bob.page, 300, 100, 1_000)
    await until('what is new', async () => (await said(alice)).at(-1) === 399)
    const kept = await said(alice)
    console.log(`      of 400 messages ${kept.length} stayed on the device`)
    check(kept.length < 400 && inOrder(kept), `without a gap, the newest: ${kept[0]} to ${kept.at(-1)}, ${kept.length}`)

    // What is written is kept, also when nobody takes it.
    await alice.open('Bob')
    await world.server.kill()
    for (let i = 0; i < 5; i++) await alice.write(`mine ${i}`)
    await alice.page.getByRole('textbox', { name: /^Message / }).fill('a draft')
    await until('all to wait', async () => (await stored(alice.page)).filter((m) => m.body.startsWith('mine') && m.tick === 0).length === 5)
    await world.server.start()
    await until('all to arrive', async () => (await stored(bob.page)).filter((m) => m.body.startsWith('mine')).map((m) => m.body).join() === 'mine 0,mine 1,mine 2,mine 3,mine 4')

    // With room again, paging back brings what went.
    await limit(alice, undefined)
    await alice.page.reload()
    await until('the draft', async () => (await alice.page.getByRole('textbox', { name: /^Message / }).inputValue()) === 'a draft')
    const log = alice.page.getByRole('log')
    await log.hover()
    await until('the beginning', async () => {
      await alice.page.mouse.wheel(0, -6_000)
      return (await shown(alice.page)).some((s) => s.startsWith('line 0 '))
    })
    const whole = await said(alice)
    check(whole.length === 400 && inOrder(whole), `all of it, in order: ${whole.length}`)
  },

  async 'when nothing can be kept the person is told, and loses nothing that stands there'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    await bob.write('nobody has read this')
    await alice.page.locator('nav a', { hasText: 'nobody has read this' }).waitFor()
    const area = alice.page.getByRole('textbox', { name: /^Message / })
    await limit(alice, 0)
    await alice.open('Bob')
    await alice.write('is this kept?')
    await alice.page.getByText('This device could not keep the message').waitFor()
    check((await area.inputValue()) === 'is this kept?', 'what was written stands there still')
    const strip = alice.page.getByRole('status').filter({ hasText: 'storage is full' })
    await strip.waitFor()
    for (const [where, viewport, colorScheme] of [['', { width: 1180, height: 760 }, 'light'], ['-narrow', { width: 390, height: 760 }, 'dark']]) {
      await alice.page.setViewportSize(viewport)
      await alice.page.emulateMedia({ colorScheme })
      await audit(alice.page, `storage full${where}`)
      await picture(alice.page, `storage-full${where}`)
    }
    await limit(alice, undefined)
    await strip.waitFor({ state: 'hidden' })
    await area.press('Enter')
    await bob.page.locator('nav a', { hasText: 'is this kept?' }).waitFor()
    check((await stored(bob.page)).filter((m) => m.body === 'is this kept?').length === 1, 'once')
    await until('what could not be marked as read to be', async () => (await stored(bob.page))[0].tick === 3)
  },

  async 'a profile on a disk that is full: the app opens and says so, and what waits to be sent is sent once'(world) {
    const profile = mkdtempSync(join(tmpdir(), 'bavard-e2e-profile-'))
    try {
      const [forAlice, forBob] = world.server.invites(2)
      const bob = await world.person('Bob')
      await bob.join(forBob)
      let alice = await world.resident('Alice', profile)
      await alice.join(forAlice)
      await alice.open('Bob')
      await alice.write('before')
      await bob.open('Alice')
      await bob.page.locator('.bubble', { hasText: 'before' }).waitFor()
      await alice.installed()
      await world.server.kill()
      for (let i = 0; i < 3; i++) await alice.write(`mine ${i}`)
      const waiting = async () => (await stored(alice.page)).filter((m) => m.body.startsWith('mine') && m.tick === 0).length
      await until('all to wait', async () => (await waiting()) === 3)
      await alice.close()

      alice = await world.resident('Alice', profile)
      alice.page = await alice.tab('')
      await limit(alice, 0, false)
      await alice.page.goto(alice.origin + '/')
      await alice.open('Bob')
      await until('what is on the device to be shown', async () => (await shown(alice.page)).join() === '> before,> mine 0,> mine 1,> mine 2')
      await alice.write('is this kept?')
      await alice.page.getByText('This device could not keep the message').waitFor()
      await alice.page.getByRole('status').filter({ hasText: 'storage is full' }).waitFor()
      check((await alice.page.getByRole('textbox', { name: /^Message / }).inputValue()) === 'is this kept?', 'what was written stands there still')
      check((await waiting()) === 3, 'what waits is there still')
      await world.server.start()
      const mine = async (p) => (await stored(p.page)).map((m) => m.body).filter((b) => b.startsWith('mine')).join()
      await until('what waits to arrive', async () => (await mine(bob)) === 'mine 0,mine 1,mine 2')
      await bob.write('good to hear')
      await alice.close()

      alice = await world.resident('Alice', profile)
      alice.page = await alice.tab('/')
      await alice.open('Bob')
      await until('all of it, each once', async () => {
        const all = await stored(alice.page)
        return all.map((m) => m.body).join() === 'before,mine 0,mine 1,mine 2,good to hear' && all.every((m) => m.tick >= 1)
      })
      check((await mine(bob)) === 'mine 0,mine 1,mine 2', 'on the other side, too')
    } finally {
      await Promise.all(world.people.filter((p) => p.name === 'Alice').map((p) => p.close().catch(() => undefined)))
      rmSync(profile, { recursive: true, force: true })
    }
  },
}
