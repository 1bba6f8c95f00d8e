// SPDX-License-Identifier: Apache-2.0

import { burst, check, PATIENCE, shown, stored, until } from './harness.mjs'

export default {
  async 'a burst drains in order, and a new device pages back through it'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    const count = 700
    await alice.open('Bob')
    const began = Date.now()
    await burst(alice.page, count)
    await until('the outbox to drain', async () => (await stored(alice.page)).every((m) => m.tick >= 1), 3 * PATIENCE)
    console.log(`      ${count} messages written and ticked in ${Date.now() - began} ms`)
    const wanted = Array.from({ length: count }, (_, i) => `message ${i}`).join()
    const bodies = async (p) => (await stored(p.page)).map((m) => m.body).join()
    await until('the other side to have all in order', async () => (await bodies(bob)) === wanted, 3 * PATIENCE)
    await until('delivery', async () => (await stored(alice.page)).every((m) => m.tick >= 2), 3 * PATIENCE)

    const login = await bob.newPassword()
    const phone = await world.person('Bob')
    await phone.logIn(login)
    await phone.open('Alice')
    await until('the newest', async () => (await stored(phone.page)).at(-1)?.body === `message ${count - 1}`)
    check((await stored(phone.page)).length < count, 'not everything is fetched at once')
    const log = phone.page.getByRole('log')
    await log.hover()
    await until('the beginning', async () => {
      await phone.page.mouse.wheel(0, -4_000)
      return (await shown(phone.page)).includes('message 0')
    }, 3 * PATIENCE)
    check((await bodies(phone)) === wanted, 'all of it, in order, each once')
    await phone.page.getByText('This is the beginning of your chat').waitFor()
    await phone.page.getByRole('button', { name: 'To the newest message' }).click()
    await until('the end', async () => (await shown(phone.page)).at(-1) === `message ${count - 1}`)
  },

  async 'while older messages come in, what is read stays where it is'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await alice.open('Bob')
    await burst(alice.page, 200)
    await until('the outbox to drain', async () => (await stored(alice.page)).every((m) => m.tick >= 1))
    await alice.page.reload()
    await alice.page.getByRole('log').hover()
    await until('something to scroll', async () => (await shown(alice.page)).length > 10)
    // A step at a time: each line that stays on screen moves by what was scrolled, no more. Before a step there is room for it:
    // else older messages are just being fetched.
    const room = () => alice.page.getByRole('log').evaluate((log) => log.scrollTop > 200)
    let worst = 0
    let lost = 0
    let before
    for (let i = 0; i < 30; i++) {
      await until('older messages', room)
      const quiet = await places(alice.page)
      worst = Math.max(worst, ...moves(before ?? quiet, quiet).map(Math.abs))
      await alice.page.mouse.wheel(0, -150)
      before = await settled(alice.page, quiet)
      const by = moves(quiet, before)
      if (by.length > 0 && by.every((m) => Math.abs(m) <= 4)) lost++ // a browser that is busy drops a turn of the wheel
      else worst = Math.max(worst, ...by.map((m) => Math.abs(m - 150)))
    }
    check(lost <= 5, `${lost} of 30 turns of the wheel moved nothing`)
    console.log(`      largest jump while paging: ${worst.toFixed(1)} px`)
    check(worst <= 4, `the text jumped by ${worst} px`)
    void bob
  },
}

const moves = (from, to) => [...from.keys()].filter((k) => to.has(k)).map((k) => to.get(k) - from.get(k))

/** Where the bubbles are once they were scrolled by 150 px; or after ten seconds, wherever they are. */
const settled = async (page, from) => {
  let now
  const there = async () => {
    now = await places(page)
    const all = moves(from, now)
    return all.length > 0 && all.every((m) => Math.abs(m - 150) <= 4)
  }
  await until('them to be scrolled', there, 10_000).catch(() => undefined)
  return now
}

const places = async (page) =>
  new Map(
    await page.locator('[role=log] .bubble').evaluateAll((all) =>
      all
        .map((b) => [b.querySelector('.body').textContent, b.getBoundingClientRect().top])
        .filter(([, top]) => top > 80 && top < 600),
    ),
  )
