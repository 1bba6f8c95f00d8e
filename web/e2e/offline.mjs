// SPDX-License-Identifier: Apache-2.0

import { check, shown, stored, until } from './harness.mjs'

export default {
  async 'what is written without a network outlives a reload, and goes out once'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    await alice.open('Bob')
    await alice.installed()
    await alice.context.setOffline(true)
    await world.server.kill() // the emulation leaves open WebSockets alone
    await alice.page.getByRole('status').filter({ hasText: 'You are offline' }).waitFor()
    await alice.write('written offline')
    await alice.page.getByLabel('Waiting to be sent').first().waitFor()

    const began = Date.now()
    await alice.page.reload()
    await alice.page.locator('.bubble', { hasText: 'written offline' }).waitFor()
    console.log(`      offline reload, to the message on screen: ${Date.now() - began} ms`)
    await alice.write('and another')
    await alice.page.getByRole('textbox').last().fill('a draft')
    await until('the draft to be kept', () =>
      alice.page.evaluate(async () => {
        const open = indexedDB.open('bavard')
        const db = await new Promise((done) => (open.onsuccess = () => done(open.result)))
        const get = db.transaction('drafts').objectStore('drafts').getAll()
        const all = await new Promise((done) => (get.onsuccess = () => done(get.result)))
        db.close()
        return all.some((d) => d.text === 'a draft')
      }),
    )
    await alice.page.reload()
    await until('the draft', async () => (await alice.page.getByRole('textbox').last().inputValue()) === 'a draft')

    await world.server.start()
    await alice.context.setOffline(false)
    await until('both to arrive', async () => (await shown(bob.page)).join('|') === 'written offline|and another')
    await until('the ticks', async () => (await stored(alice.page)).every((m) => m.tick >= 2))
    check((await stored(bob.page)).length === 2, 'each once')
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
}
