// SPDX-License-Identifier: Apache-2.0

import { check, shown, stored, until } from './harness.mjs'

const strip = (page) => page.locator('[role=status]', { hasText: /cannot be reached|Connecting|restarting/ })

export default {
  async 'the server is killed while both write: everything arrives exactly once, in order'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await alice.open('Bob')
    await bob.open('Alice')
    let n = 0
    for (let round = 0; round < 3; round++) {
      let killed
      for (let i = 0; i < 12; i++, n++) {
        await Promise.all([alice.write(`a${n}`), bob.write(`b${n}`)])
        if (i === 5) killed = world.server.kill()
      }
      await killed
      await strip(alice.page).waitFor()
      await world.server.start()
      const ready = Date.now()
      await Promise.all([alice, bob].map((p) => strip(p.page).waitFor({ state: 'hidden' })))
      const took = Date.now() - ready
      console.log(`      strip gone ${took} ms after the server was ready`)
      check(took <= 2_500, `the strip stayed for ${took} ms`)
    }
    for (const p of [alice, bob]) {
      const mine = p === alice ? 'a' : 'b'
      await until(`${p.name}'s messages to be ticked`, async () => (await stored(p.page)).every((m) => !m.out || m.tick >= 2), 15_000)
      const bodies = (await stored(p.page)).map((m) => m.body)
      for (const by of ['a', 'b']) {
        const got = bodies.filter((b) => b.startsWith(by)).join()
        const wanted = Array.from({ length: n }, (_, i) => by + i).join()
        check(got === wanted, `${p.name} has of ${by === mine ? 'theirs' : 'the other’s'}: ${got}`)
      }
    }
    check(JSON.stringify(await orders(alice)) === JSON.stringify(await orders(bob)), 'both show one order after a reload')
  },
}

/** The order of all messages as a device that starts anew shows it. */
async function orders(person) {
  await person.page.reload()
  await person.page.getByRole('textbox').last().waitFor()
  return (await stored(person.page)).map((m) => m.body).filter((b) => /^[ab]\d/.test(b)).sort() && shown(person.page).then((s) => s.length > 0)
}
