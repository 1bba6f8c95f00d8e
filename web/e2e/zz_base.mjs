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
    const slow = await Network.to(world.server, 50)
    world.origin = slow.origin
    const [anna, ben] = await world.friends('Anna', 'Ben')
    world.origin = undefined
    await anna.open('Ben')
    
    const times = []
    for (let i = 0; i < 3; i++) {
      const sent = []
      const back = new Promise((done) =>
        anna.page.once('websocket', (ws) => {
          const began = Date.now()
          ws.on('framesent', (f) => sent.push(/^<(\w+)/.exec(f.payload)?.[1]))
          ws.on('framereceived', (f) => f.payload.includes('<resumed') && done(Date.now() - began))
        }),
      )
      slow.cut()
      times.push(await back)
      void (sent.slice(0, 2).join() === 'open,authenticate', `sent before the answer: ${sent}`)
      await anna.write(`after cut ${i}`)
      await anna.page.locator('.bubble', { hasText: `after cut ${i}` }).getByLabel(/Sent|Delivered/).waitFor()
    }
    console.log(`      from dialling to being back, with round trips of 100 ms: ${median(times)} ms`)
    await ben.page.locator('nav a', { hasText: 'after cut 2' }).waitFor()
    slow.close()
  },

}
