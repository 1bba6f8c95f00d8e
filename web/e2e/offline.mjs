// SPDX-License-Identifier: Apache-2.0

import { audit } from './access.mjs'
import { check, inStore, Network, PATIENCE, picture, shown, stored, until } from './harness.mjs'

const HOUR = 3_600_000

/** Writes these as fast as the app takes them, by what is there for people. */
const writeAll = (page, texts) =>
  page.evaluate((texts) => {
    const area = document.querySelector('textarea')
    for (const text of texts) {
      area.value = text
      area.dispatchEvent(new Event('input', { bubbles: true }))
      area.form.requestSubmit()
    }
  }, texts)

/** What a conversation has, in its order. */
const bodies = async (p, by = 'day') => (await stored(p.page)).map((m) => m.body).filter((b) => b.startsWith(by))

export default {
  async 'what is written without a network outlives a reload, and goes out once'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    await alice.open('Bob')
    await alice.installed()
    const online = alice.page.locator('main header', { hasText: 'online' })
    await online.waitFor()
    await alice.context.setOffline(true)
    await world.server.kill() // the emulation leaves open WebSockets alone
    await alice.page.getByRole('status').filter({ hasText: 'You are offline' }).waitFor()
    await online.waitFor({ state: 'detached' })
    await alice.write('written offline')
    await alice.page.getByLabel('Waiting to be sent').first().waitFor()

    const began = Date.now()
    await alice.page.reload()
    await alice.page.locator('.bubble', { hasText: 'written offline' }).waitFor()
    console.log(`      offline reload, to the message on screen: ${Date.now() - began} ms`)
    await alice.write('and another')
    await alice.page.getByRole('textbox').last().fill('a draft')
    await until('the draft to be kept', () =>
      inStore(alice.page, async (db, result) => (await result(db.transaction('drafts').objectStore('drafts').getAll())).some((d) => d.text === 'a draft')),
    )
    await alice.page.reload()
    await until('the draft', async () => (await alice.page.getByRole('textbox').last().inputValue()) === 'a draft')

    await world.server.start()
    await alice.context.setOffline(false)
    await until('both to arrive', async () => (await shown(bob.page)).join('|') === 'written offline|and another')
    await until('the ticks', async () => (await stored(alice.page)).every((m) => m.tick >= 2))
    check((await stored(bob.page)).length === 2, 'each once')
    await online.waitFor()
  },

  async 'a page that was loaded past the worker is taken by it'(world) {
    const alice = await world.person('Alice')
    await alice.join(world.server.invites(1)[0])
    await alice.installed()
    await alice.page.evaluate(() => (globalThis.before = true))
    const cdp = await alice.context.newCDPSession(alice.page)
    await cdp.send('Page.reload', { ignoreCache: true }) // without the worker
    const taken = () => globalThis.before === undefined && navigator.serviceWorker.controller !== null
    await until('the page to be the worker’s', () => alice.page.evaluate(taken).catch(() => false))
  },

  async 'what waits is seen in one place, and can be deleted there; the rest goes out once'(world) {
    const [alice, bob, carl] = await world.friends('Alice', 'Bob', 'Carl')
    await alice.page.locator('nav a', { hasText: 'Carl' }).waitFor()
    await alice.open('Bob')
    await alice.installed()
    await alice.context.setOffline(true)
    await world.server.kill()
    const strip = alice.page.getByRole('status').filter({ hasText: 'You are offline' })
    await strip.waitFor()
    for (const text of ['first', 'not this one', 'last']) await alice.write(text)
    await strip.getByRole('button', { name: '3 messages wait' }).click()
    const list = alice.page.getByRole('dialog', { name: 'Waiting to be sent' })
    await until('all that waits', async () => (await list.getByRole('listitem').allInnerTexts()).map((s) => /first|not this one|last/.exec(s)?.[0]).join() === 'first,not this one,last')
    for (const [colorScheme, width] of [['light', 1180], ['dark', 390]]) {
      await alice.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await alice.page.setViewportSize({ width, height: 760 })
      await audit(alice.page, `what waits, ${colorScheme}, ${width} px`)
      await picture(alice.page, `outbox-${width}`)
    }
    await alice.page.setViewportSize({ width: 1180, height: 760 })
    await list.getByRole('button', { name: 'Delete: not this one' }).click()
    await until('two', async () => (await list.getByRole('listitem').count()) === 2)
    await list.getByRole('button', { name: 'Close' }).click()
    await strip.getByRole('button', { name: '2 messages wait' }).waitFor()
    check(!(await shown(alice.page)).join().includes('not this one'), 'it is gone from the conversation')
    // What it says outlives a reload.
    await alice.page.goto(alice.page.url().replace(/\/chat.*/, '/?me'))
    const button = alice.page.getByRole('button', { name: 'Waiting to be sent' })
    await until('the list to open, though the page around the button still fills', async () => {
      if (await list.isVisible()) return true
      await button.click({ timeout: 1_000 }).catch(() => undefined)
      return false
    })
    await list.getByRole('link', { name: 'last' }).click()
    await alice.page.locator('.bubble', { hasText: 'last' }).waitFor()
    await world.server.start()
    await alice.context.setOffline(false)
    await bob.open('Alice')
    await until('both to arrive', async () => (await shown(bob.page)).join('|') === 'first|last')
    await until('the ticks', async () => (await stored(alice.page)).every((m) => m.tick >= 1))
    await alice.page.goto(world.server.origin + '/?me')
    await alice.page.getByText('Starred messages').waitFor()
    check((await alice.page.getByRole('button', { name: 'Waiting to be sent' }).count()) === 0, 'nothing waits')
  },

  async 'a message that the server refuses is listed, tried again, and deleted'(world) {
    const [alice] = await world.friends('Alice', 'Bob')
    await alice.page.goto(world.server.origin + '/chat/nobody@localhost')
    await alice.write('is anybody there')
    await alice.page.getByText('There is nobody with this address.').waitFor()
    await alice.page.goto(world.server.origin + '/?me')
    await alice.page.getByRole('button', { name: 'Waiting to be sent' }).click()
    const list = alice.page.getByRole('dialog', { name: 'Waiting to be sent' })
    const refused = list.getByRole('listitem').filter({ hasText: 'There is nobody with this address.' })
    await refused.getByRole('button', { name: 'Try again: is anybody there' }).click()
    await refused.waitFor()
    await refused.getByRole('button', { name: 'Delete: is anybody there' }).click()
    await list.getByText('Everything is sent.').waitFor()
    await list.getByRole('button', { name: 'Close' }).click()
  },

  async 'what was missed while away comes in order'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await alice.open('Bob')
    await bob.page.close()
    for (let i = 0; i < 25; i++) await alice.write(`m${i}`)
    await until('all to be sent', async () => (await stored(alice.page)).every((m) => m.tick >= 1))
    bob.page = await bob.tab('/')
    await until('the count', async () => (await bob.page.title()) === '(25) bavard')
    await bob.open('Alice')
    await bob.page.getByText('25 unread messages').waitFor()
    const order = async () => (await stored(bob.page)).map((m) => m.body).join()
    await until('the order', async () => (await order()) === Array.from({ length: 25 }, (_, i) => `m${i}`).join())
    await alice.page.locator('main').getByLabel('Read').nth(5).waitFor()
  },

  async 'two days offline: 500 messages are kept, through a reload, and leave once and in order'(world) {
    const began = Date.now()
    const network = await Network.to(world.server)
    const login = { address: 'bea@localhost', password: 'bea’s own secret' }
    world.server.user('bea', login.password)
    const bea = await world.person('Bea')
    await bea.logIn(login)
    world.origin = network.origin
    const alice = await world.person('Alice')
    world.origin = undefined
    // Two days of her clock pass before it is what it is.
    await alice.context.clock.install({ time: began - 48 * HOUR })
    await alice.join(world.server.invites(1)[0])
    await alice.page.goto(alice.origin + '/chat/bea@localhost')
    await alice.page.getByRole('textbox', { name: /^Message / }).waitFor()
    await alice.write('day 0, before')
    await alice.page.locator('main').getByLabel('Delivered').waitFor()
    // Asked by hand: what waits in the page goes by the page's clock.
    await until('the app to be on the device', () => alice.page.evaluate(() => navigator.serviceWorker.controller !== null))
    await alice.context.setOffline(true)
    network.cut()
    const offline = alice.page.getByRole('status').filter({ hasText: 'You are offline' })
    await offline.waitFor()

    const wanted = ['day 0, before']
    for (let hour = 0; hour < 48; hour++) {
      const texts = Array.from({ length: hour % 12 === 5 ? 15 : 10 }, (_, i) => `day ${Math.floor(hour / 24)}, hour ${hour}, no. ${i}`)
      wanted.push(...texts)
      // Now and then the last is typed; between two hours nobody is there.
      const typed = hour % 6 === 0 ? texts.pop() : undefined
      await writeAll(alice.page, texts)
      if (typed) {
        const area = alice.page.getByRole('textbox', { name: /^Message / })
        await area.pressSequentially(typed)
        await area.press('Enter')
      }
      await alice.page.clock.fastForward(HOUR)
      if (hour !== 24) continue
      await until('what was written to be kept', async () => (await bodies(alice)).length === wanted.length)
      await alice.page.reload()
      await alice.page.locator('.bubble', { hasText: wanted.at(-1) }).waitFor()
      await offline.waitFor()
    }
    const last = wanted.at(-1)
    check(wanted.length === 501, `there are ${wanted.length}`)
    await until('all to be kept', async () => (await bodies(alice)).length === wanted.length)
    const waiting = (await stored(alice.page)).filter((m) => m.tick === 0).length
    check(waiting === 500, `${waiting} wait`)
    check((await bodies(alice)).join('|') === wanted.join('|'), 'on the device they are in another order')
    check((await bodies(bea)).length === 1, 'something has left')
    check(Math.abs((await alice.page.evaluate(() => Date.now())) - Date.now()) < HOUR, 'the two days have not passed')
    const wrote = Date.now()

    await alice.context.setOffline(false)
    await until('all to be delivered', async () => (await stored(alice.page)).every((m) => m.tick >= 2), 3 * PATIENCE)
    const left = Date.now()
    for (const p of [alice, bea]) {
      await until(`${p.name} to have all`, async () => (await bodies(p)).length >= wanted.length)
      await p.page.reload()
      await p.page.locator('nav a', { hasText: last }).waitFor()
      check((await bodies(p)).join('|') === wanted.join('|'), `${p.name} has ${(await bodies(p)).join('|')}`)
    }
    // What the server has is what a device finds that knows nothing.
    const fresh = await world.person('Bea')
    await fresh.logIn(login)
    await fresh.page.locator('nav a', { hasText: last }).click()
    await fresh.page.getByRole('log').hover()
    await until('the beginning', async () => {
      await fresh.page.mouse.wheel(0, -4_000)
      return (await shown(fresh.page)).includes('day 0, before')
    }, 3 * PATIENCE)
    check((await bodies(fresh)).join('|') === wanted.join('|'), `the archive has ${(await bodies(fresh)).join('|')}`)
    console.log(`      500 written in ${wrote - began} ms, delivered ${left - wrote} ms after the network was back; ${Date.now() - began} ms in all`)
    network.close()
  },
}
