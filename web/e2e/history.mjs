// SPDX-License-Identifier: Apache-2.0

import { check, shown, stored, until } from './harness.mjs'

/** Writes as fast as the app takes it. */
const burst = (page, count) =>
  page.evaluate(async (count) => {
    const area = document.querySelector('textarea')
    for (let i = 0; i < count; i++) {
      area.value = `message ${i}`
      area.dispatchEvent(new Event('input', { bubbles: true }))
      area.form.requestSubmit()
      if (i % 25 === 24) await new Promise((done) => setTimeout(done, 20))
    }
  }, count)

export default {
  async 'a burst drains in order, and a new device pages back through it'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    const count = 700
    await alice.open('Bob')
    const began = Date.now()
    await burst(alice.page, count)
    await until('the outbox to drain', async () => (await stored(alice.page)).every((m) => m.tick >= 1))
    console.log(`      ${count} messages written and ticked in ${Date.now() - began} ms`)
    const wanted = Array.from({ length: count }, (_, i) => `message ${i}`).join()
    const bodies = async (p) => (await stored(p.page)).map((m) => m.body).join()
    await until('the other side to have all in order', async () => (await bodies(bob)) === wanted)
    await until('delivery', async () => (await stored(alice.page)).every((m) => m.tick >= 2))

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
    }, 60_000)
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
    // A step at a time: each line that stays on screen moves by what was scrolled, no more.
    let worst = 0
    let steps = 0
    for (let i = 0; i < 60 && steps < 30; i++) {
      const before = await places(alice.page)
      await alice.page.mouse.wheel(0, -150)
      const after = await settled(alice.page, before)
      if (!after) continue // older messages were just being fetched: there was nowhere to scroll to yet
      steps++
      const moves = [...before.keys()].filter((k) => after.has(k)).map((k) => after.get(k) - before.get(k))
      if (moves.length > 0) worst = Math.max(worst, Math.abs(Math.max(...moves) - 150), Math.abs(Math.min(...moves) - 150))
    }
    console.log(`      largest jump while paging: ${worst.toFixed(1)} px`)
    check(steps >= 20, `only ${steps} steps could be scrolled`)
    check(worst <= 4, `the text jumped by ${worst} px`)
    void bob
  },
}

/** Where the bubbles are once scrolling has begun and ended; undefined when it does not begin within half a second. */
const settled = async (page, before) => {
  const key = (m) => JSON.stringify([...m])
  let last = key(before)
  let moved = false
  const end = Date.now() + 500
  return until('the scrolling to end', async () => {
    if (!moved && Date.now() > end) return 'nowhere'
    const now = await places(page)
    const same = key(now) === last
    last = key(now)
    moved ||= !same
    return moved && same ? now : undefined
  }).then((places) => (places === 'nowhere' ? undefined : places))
}

const places = async (page) =>
  new Map(
    await page.locator('[role=log] .bubble').evaluateAll((all) =>
      all
        .map((b) => [b.querySelector('.body').textContent, b.getBoundingClientRect().top])
        .filter(([, top]) => top > 80 && top < 600),
    ),
  )
