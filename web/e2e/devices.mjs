// SPDX-License-Identifier: Apache-2.0

// Logging in: tokens, what ends them, and the devices of an account.

import { check, Network, shown, until } from './harness.mjs'

const kept = (page) =>
  page.evaluate(async () => {
    const open = indexedDB.open('bavard')
    const db = await new Promise((done) => (open.onsuccess = () => done(open.result)))
    const get = db.transaction('meta').objectStore('meta').get('account')
    const account = await new Promise((done) => (get.onsuccess = () => done(get.result)))
    db.close()
    return account
  })

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]

export default {
  async 'the device keeps a token instead of the password, and is back in one round trip'(world) {
    const slow = await Network.to(world.server, { slowing: true })
    world.origin = slow.origin
    const [anna, ben] = await world.friends('Anna', 'Ben')
    world.origin = undefined
    await anna.open('Ben')
    await until('a token, and no password', async () => {
      const { token, password } = await kept(anna.page)
      return token && !password
    })
    slow.delay = 50
    const times = []
    for (let i = 0; i < 3; i++) {
      const sent = []
      const back = new Promise((done) =>
        anna.page.once('websocket', (ws) => {
          const began = Date.now()
          ws.on('framesent', (f) => sent.push(/^<(\w+)/.exec(f.payload)?.[1]))
          ws.on('framereceived', (f) => f.payload.includes('<success') && done(Date.now() - began))
        }),
      )
      slow.cut()
      times.push(await back)
      check(sent.slice(0, 2).join() === 'open,authenticate', `sent before the answer: ${sent}`)
      await anna.write(`after cut ${i}`)
      await anna.page.locator('.bubble', { hasText: `after cut ${i}` }).getByLabel(/Sent|Delivered/).waitFor()
    }
    console.log(`      from dialling to being back, with round trips of 100 ms: ${median(times)} ms`)
    await ben.page.locator('nav a', { hasText: 'after cut 2' }).waitFor()
    slow.close()
  },

  async 'a device that was logged out says so, keeps what it has, and goes on after logging in'(world) {
    const [anna, ben] = await world.friends('Anna', 'Ben')
    await anna.open('Ben')
    await anna.write('before')
    await anna.page.locator('main').getByLabel('Delivered').waitFor()
    const second = await anna.tab('/')
    await second.getByRole('heading', { name: 'bavard', exact: true }).waitFor()
    const phone = await world.person('Anna')
    await phone.logIn(await anna.newPassword())
    const login = await phone.newPassword()
    await anna.page.getByRole('heading', { name: 'This device was logged out' }).waitFor()
    await second.getByRole('heading', { name: 'This device was logged out' }).waitFor()
    let sockets = 0
    anna.page.on('websocket', () => sockets++)
    await anna.page.reload()
    await anna.page.getByRole('heading', { name: 'This device was logged out' }).waitFor()
    check(sockets === 0, 'it does not try again by itself')
    await anna.page.getByLabel('Password').fill('wrong')
    await anna.page.getByRole('button', { name: 'Log in' }).click()
    await anna.page.getByText('does not accept').waitFor()
    await anna.page.getByLabel('Password').fill(login.password)
    await anna.page.getByRole('button', { name: 'Log in' }).click()
    await anna.open('Ben')
    await until('what was said before', async () => (await shown(anna.page)).join('|') === '> before')
    await anna.write('after')
    await ben.page.locator('nav a', { hasText: 'after' }).waitFor()
    await second.locator('nav a', { hasText: 'after' }).waitFor()
    check((await kept(anna.page)).password === undefined, 'the password is not kept')
  },
}
