// SPDX-License-Identifier: Apache-2.0

import { check, Network, PATIENCE, stored, until } from './harness.mjs'

const strip = (page) => page.getByRole('status').filter({ hasText: /cannot be reached|Connecting|offline/ })

/** Frames that a page gets over its connections, as they come. */
function listen(page) {
  const frames = []
  page.on('websocket', (ws) => ws.on('framereceived', (f) => frames.push(String(f.payload))))
  return frames
}

export default {
  async 'connections break while both write: sessions resume, everything arrives once and in order'(world) {
    const network = await Network.to(world.server)
    world.origin = network.origin
    const [alice, bob] = await world.friends('Alice', 'Bob')
    const frames = listen(alice.page)
    await alice.open('Bob')
    await bob.open('Alice')
    const rounds = 6
    for (let i = 0; i < rounds * 4; i++) {
      await Promise.all([alice.write(`a${i}`), bob.write(`b${i}`)])
      if (i % 4 === 1) network.cut()
    }
    for (const p of [alice, bob]) {
      await until(`${p.name}’s ticks`, async () => (await stored(p.page)).every((m) => !m.out || m.tick >= 2))
      await strip(p.page).waitFor({ state: 'hidden' })
      for (const by of ['a', 'b']) {
        const got = (await stored(p.page)).map((m) => m.body).filter((b) => b.startsWith(by)).join()
        check(got === Array.from({ length: rounds * 4 }, (_, i) => by + i).join(), `${p.name} has of ${by}: ${got}`)
      }
    }
    // With SASL2 it stands within the success of the login.
    const told = (what) => frames.filter((f) => f.includes(`<${what} xmlns='urn:xmpp:sm:3'`) || f.includes(`<${what} xmlns="urn:xmpp:sm:3"`)).length
    check(told('resumed') > 0, 'no session was resumed')
    console.log(`      ${told('resumed')} resumptions, ${told('failed')} refused`)
    network.close()
    world.origin = undefined
  },

  async 'what is asked for before there is a connection is done once there is one, whichever tab is asked'(world) {
    const [alice] = await world.friends('Alice', 'Bob')
    let come
    const coming = new Promise((done) => (come = done))
    await alice.context.routeWebSocket(/xmpp-websocket/, async (ws) => {
      await coming
      ws.connectToServer()
    })
    await alice.page.goto(world.server.origin + '/?devices')
    await alice.page.getByRole('button', { name: 'Link a device' }).waitFor()
    const second = await alice.tab('/')
    await second.locator('nav a', { hasText: 'Bob' }).click({ button: 'right' })
    await second.getByRole('button', { name: 'Mute…' }).click()
    // Nobody waits for ever: what follows comes soon.
    await alice.page.getByRole('button', { name: 'Link a device' }).click()
    await second.getByRole('button', { name: 'Mute for ever' }).click()
    come()
    await alice.page.getByRole('img', { name: 'Code to scan' }).waitFor()
    await second.locator('nav a', { hasText: 'Bob' }).getByRole('img', { name: 'muted' }).waitFor()
  },

  async 'a connection that went silent is found out, and replaced'(world) {
    const network = await Network.to(world.server)
    world.origin = network.origin
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await alice.open('Bob')
    network.silence()
    const began = Date.now()
    await alice.write('into the void')
    await bob.page.locator('nav a', { hasText: 'into the void' }).waitFor({ timeout: 2 * PATIENCE })
    console.log(`      found out and delivered after ${Date.now() - began} ms`)
    check((await stored(bob.page)).length === 1, 'once')
    network.close()
    world.origin = undefined
  },
}
