// SPDX-License-Identifier: Apache-2.0

// Groups: three browsers, a server that is killed, and what members may do.

import { audit } from './access.mjs'
import { crowd } from './crier.mjs'
import { check, picture, shown, stored, until } from './harness.mjs'

const bubble = (p, text) => p.page.locator('[role=log] .bubble', { hasText: text }).last()

/** Makes a group as a person does. */
export async function group(p, name, ...people) {
  await p.page.getByRole('link', { name: 'New chat' }).first().click()
  await p.page.getByRole('link', { name: 'New group' }).click()
  await p.page.getByLabel('Name of the group').fill(name)
  for (const who of people) await p.page.getByRole('group', { name: 'Contacts' }).getByText(who).click()
  await p.page.getByRole('button', { name: 'Create group' }).click()
  await p.page.getByRole('textbox', { name: `Message ${name}` }).waitFor()
}

async function choir(world, ...names) {
  const people = await world.friends(...(names.length > 0 ? names : ['Anna', 'Bob', 'Carl']))
  await group(people[0], 'Choir', ...people.slice(1).map((p) => p.name))
  for (const p of people.slice(1)) await p.open('Choir')
  return people
}

const info = (p) => p.page.locator('main header').getByRole('button', { name: /Group info/ }).click()

export default {
  async 'a group is made, everybody writes, and sees who has read'(world) {
    const [anna, bob, carl] = await choir(world)
    await anna.write('Tuesday at seven')
    for (const p of [bob, carl]) {
      await bubble(p, 'Tuesday at seven').waitFor()
      check((await bubble(p, 'Tuesday').locator('.from').innerText()) === 'Anna', 'it says who wrote')
    }
    await bob.page.getByRole('textbox', { name: /^Message / }).pressSequentially('I will')
    await anna.page.locator('main header').getByText('Bob is typing…').waitFor()
    await bob.write('I will be late')
    await bubble(anna, 'I will be late').waitFor()
    await anna.page.getByText('Bob is typing…').first().waitFor({ state: 'detached' })
    await until('the list to say who', async () => /Bob: I will be late/.test(await carl.page.locator('nav a', { hasText: 'Choir' }).innerText()))
    await bubble(anna, 'Tuesday').getByLabel('Read').waitFor()
    await bubble(anna, 'Tuesday').click({ button: 'right' })
    await anna.page.getByRole('dialog').getByRole('button', { name: 'Message info' }).click()
    await until('both to have read', async () => /Read by\s+(\w\s+)?Bob\s+(\w\s+)?Carl/.test(await anna.page.getByRole('dialog').innerText()))
    await anna.page.keyboard.press('Escape')

    await bubble(bob, 'Tuesday').click({ button: 'right' })
    await bob.page.getByRole('button', { name: 'React with 👍' }).click()
    await carl.page.locator('.reactions', { hasText: '👍' }).waitFor()
    await bubble(carl, 'I will be late').click({ button: 'right' })
    await carl.page.getByRole('dialog').getByRole('button', { name: 'Reply' }).click()
    await carl.write('Never mind')
    await until('the quote', async () => (await bubble(anna, 'Never mind').locator('.quote').innerText()) === 'Bob\nI will be late')
    await bubble(bob, 'Never mind').waitFor()
    await bob.page.getByRole('textbox', { name: /^Message / }).press('ArrowUp')
    await bob.page.getByText('Edit message').waitFor()
    await bob.write('I will be in time')
    await bubble(anna, 'I will be in time').getByText('edited').waitFor()
  },

  async 'members are named, and see it'(world) {
    const [anna, bob, carl] = await world.friends('Anna', 'Bob', 'Carl')
    await group(anna, 'Choir', 'Carl')
    await carl.open('Choir')
    await carl.page.keyboard.press('Escape')
    await anna.page.getByRole('textbox', { name: /^Message / }).pressSequentially('Ask @bo')
    // Who comes into the group while the @ stands there is offered, too.
    const other = await anna.tab('/')
    await other.locator('nav a', { hasText: 'Choir' }).click()
    await info({ page: other })
    await other.getByRole('button', { name: 'Add members' }).click()
    check((await anna.page.getByRole('option').count()) === 0, 'nobody is offered who is not in the group')
    await other.getByRole('group', { name: 'Contacts' }).getByText('Bob').click()
    await other.getByRole('dialog').getByRole('button', { name: 'Add members' }).click()
    await anna.page.getByRole('option', { name: 'Bob' }).waitFor()
    await other.close()
    await bob.page.locator('nav a', { hasText: 'Choir' }).waitFor()
    await anna.page.keyboard.press('Enter')
    await anna.page.keyboard.type('please')
    await anna.page.keyboard.press('Enter')
    await bob.page.locator('nav a', { hasText: 'Choir' }).getByLabel('You were mentioned').waitFor()
    await carl.page.locator('nav a', { hasText: 'Ask @Bob please' }).waitFor()
    check((await carl.page.getByLabel('You were mentioned').count()) === 0, 'Carl is not meant')
    await bob.open('Choir')
    await bubble(bob, 'Ask').locator('b', { hasText: '@Bob' }).waitFor()
  },

  async 'the server is killed while all write: each message is there once, in one order'(world) {
    const [anna, bob, carl] = await choir(world)
    const everybody = [anna, bob, carl]
    let n = 0
    for (let round = 0; round < 2; round++) {
      let killed
      for (let i = 0; i < 8; i++, n++) {
        await Promise.all(everybody.map((p) => p.write(`${p.name} ${n}`)))
        if (i === 3) killed = world.server.kill()
      }
      await killed
      await world.server.start()
    }
    const said = async (p) => (await stored(p.page)).filter((m) => /^\w+ \d+$/.test(m.body)).map((m) => m.body)
    for (const p of everybody) {
      await until(`${p.name} to have all`, async () => (await said(p)).length >= 3 * n && (await stored(p.page)).every((m) => !m.out || m.tick >= 1))
      const got = await said(p)
      check(got.length === 3 * n && new Set(got).size === 3 * n, `${p.name} has ${got.length} of ${3 * n}, ${new Set(got).size} different`)
      for (const by of everybody) check(got.filter((s) => s.startsWith(by.name)).every((s, i) => s === `${by.name} ${i}`), `${p.name} has ${by.name}’s out of order`)
    }
    const orders = await Promise.all(everybody.map(async (p) => (await said(p)).join()))
    check(orders[0] === orders[1] && orders[1] === orders[2], 'all have the same order')
  },

  async 'who is away finds it all, on every device'(world) {
    const [anna, bob] = await choir(world)
    await bob.page.close()
    for (let i = 0; i < 3; i++) await anna.write(`while you were away ${i}`)
    await until('all to be said', async () => (await stored(anna.page)).filter((m) => m.tick >= 1 && m.out).length === 3)
    bob.page = await bob.tab('/')
    await until('three unread', async () => /\b3$/.test((await bob.page.locator('nav a', { hasText: 'Choir' }).innerText()).trim()))
    await bob.open('Choir')
    await until('all of it', async () => (await shown(bob.page)).filter((s) => s.startsWith('while you')).length === 3)

    const login = await anna.newPassword()
    const tablet = await world.person('Anna')
    await tablet.logIn(login)
    await tablet.open('Choir')
    await until('the history', async () => (await shown(tablet.page)).filter((s) => s.startsWith('> while you')).length === 3)
    await anna.page.goto(world.server.origin + '/')
    await tablet.write('from my tablet')
    await bubble(bob, 'from my tablet').waitFor()
    await anna.page.locator('nav a', { hasText: 'from my tablet' }).waitFor()
  },

  async 'the owner rules: admins, only admins write, removing, leaving'(world) {
    const [anna, bob, carl] = await choir(world)
    await info(anna)
    await anna.page.getByRole('button', { name: 'Edit' }).click()
    await anna.page.getByLabel('Description').fill('We sing on Tuesdays')
    await anna.page.getByRole('button', { name: 'Save' }).click()
    await info(bob)
    await bob.page.getByText('We sing on Tuesdays').waitFor()
    await anna.page.getByText('Only admins write').click()
    await carl.page.getByText('Only admins can write here.').waitFor()
    const member = (name) => anna.page.getByRole('complementary', { name: 'Group info' }).getByRole('button', { name })
    await member('Bob').click()
    await anna.page.getByRole('button', { name: 'Make admin' }).click()
    await bob.page.keyboard.press('Escape')
    await bob.page.getByRole('textbox', { name: 'Message Choir' }).waitFor()
    await bob.write('I may')
    await bubble(carl, 'I may').waitFor()
    await member('Carl').click()
    await anna.page.getByRole('button', { name: 'Remove', exact: true }).click()
    await carl.page.getByText('You are no longer in this group.').waitFor()
    await info(bob)
    await bob.page.getByRole('button', { name: 'Leave group' }).click()
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Leave group' }).click()
    await bob.page.getByText('You left this group.').waitFor()
    await until('one member to be left', async () => /1 member/.test(await anna.page.getByRole('complementary', { name: 'Group info' }).innerText()))
  },

  async 'in a room open to all one sees who is there, also without the list of its members'(world) {
    const [carla, dan, eve] = await world.friends('Carla', 'Dan', 'Eve')
    const account = await carla.newPassword()
    await crowd(carla.page, account, { room: 'plaza@rooms.localhost', name: 'Plaza', guest: 'dan@localhost', open: true })
    await dan.page.locator('nav a', { hasText: 'Plaza' }).getByText('Say hello').waitFor()
    await dan.open('Plaza')
    await info(dan)
    const panel = dan.page.getByRole('complementary', { name: 'Group info' })
    await panel.getByText('2 people here').first().waitFor()
    await carla.page.evaluate(() => globalThis.crier.invite('eve@localhost'))
    await panel.getByText('3 people here').first().waitFor()
    await until('who is there', async () => (await panel.locator('.nick').allInnerTexts()).join() === 'Crier,You,Eve')
    await audit(dan.page, 'info of a room open to all')
    await picture(dan.page, 'x-open-room')
    await carla.page.evaluate(() => globalThis.crier.configure('Piazza'))
    await dan.page.getByRole('textbox', { name: 'Message Piazza' }).waitFor()
    await dan.page.locator('main header', { hasText: '3 people here' }).waitFor()

    await eve.open('Piazza')
    await info(eve)
    await eve.page.getByRole('button', { name: 'Leave group' }).click()
    await eve.page.getByRole('dialog').getByRole('button', { name: 'Leave group' }).click()
    await panel.getByText('2 people here').first().waitFor()
    await until('who has left to be gone', async () => (await panel.locator('.nick').allInnerTexts()).join() === 'Crier,You')
    await panel.getByRole('button', { name: 'Crier' }).click()
    await panel.getByRole('button', { name: 'Message Crier' }).click()
    await dan.page.getByRole('textbox', { name: /Crier/ }).waitFor()
  },

  async 'pictures for the eye'(world) {
    if (!process.env.BAVARD_PICTURES) return
    const [anna, bob, carl] = await choir(world, 'Anna Keller', 'Zoë Müller', 'Tom')
    await anna.write('Tuesday instead of Thursday, same place. Who tells the tenors?')
    await bubble(bob, 'Tuesday').waitFor()
    await bob.write('They never read anything.')
    await bubble(carl, 'They never').waitFor()
    await carl.write('I read everything, I just never answer')
    await bubble(bob, 'I read').waitFor()
    await bubble(bob, 'I read').click({ button: 'right' })
    await bob.page.getByRole('button', { name: 'React with 😂' }).click()
    await bubble(bob, 'I read').click({ button: 'right' })
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Reply' }).click()
    await bob.write('@Tom then bring the blue folder, please')
    await bubble(anna, 'blue folder').waitFor()
    await picture(anna.page, 'x-group')
    await info(anna)
    await anna.page.waitForTimeout(600)
    await picture(anna.page, 'x-group-info')
    await carl.page.setViewportSize({ width: 390, height: 760 })
    await carl.page.emulateMedia({ colorScheme: 'dark' })
    await carl.page.waitForTimeout(400)
    await picture(carl.page, 'x-group-phone')
    await carl.page.getByRole('button', { name: 'Back' }).click()
    await carl.page.waitForTimeout(300)
    await picture(carl.page, 'x-list-phone')
    await carl.page.goto(world.server.origin + '/?group')
    await carl.page.waitForTimeout(500)
    await picture(carl.page, 'x-new-group')
  },

  async 'a link lets people into a group: who has an account joins, who has none makes one; taken back, it lets in nobody'(world) {
    const [anna, ben] = await world.friends('Anna', 'Ben')
    const { page } = anna
    await group(anna, 'Choir')
    await info(anna)
    await page.getByRole('button', { name: 'Invite by link' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Good for').selectOption({ label: 'a day' })
    await dialog.getByLabel('For how many people').selectOption('10')
    await dialog.getByRole('button', { name: 'Make a link' }).click()
    await dialog.getByRole('img', { name: 'Code to scan' }).waitFor()
    const link = await dialog.locator('output').innerText()
    await dialog.getByText('for 10 more').waitFor()
    await audit(page, 'links to a group')
    await picture(page, 'group-link')

    await ben.page.goto(link)
    await ben.page.getByRole('heading', { name: 'You are invited to Choir' }).waitFor()
    await audit(ben.page, 'the page of a link to a group')
    await picture(ben.page, 'group-join')
    await ben.page.getByRole('button', { name: 'Join' }).click()
    await ben.page.getByRole('textbox', { name: 'Message Choir' }).waitFor()
    await ben.write('la la')
    await page.locator('.bubble', { hasText: 'la la' }).waitFor()

    const cleo = await world.person('Cleo', { viewport: { width: 390, height: 844 } })
    cleo.page = await cleo.tab('')
    await cleo.page.goto(link)
    await cleo.page.getByRole('heading', { name: 'You are invited to Choir' }).waitFor()
    await cleo.page.getByLabel('Your name').fill('Cleo')
    await cleo.page.getByRole('button', { name: 'Start chatting' }).click()
    await cleo.page.getByRole('textbox', { name: 'Message Choir' }).waitFor()
    await cleo.write('me too')
    await ben.page.locator('.bubble', { hasText: 'me too' }).waitFor()

    await dialog.getByRole('button', { name: 'Take back' }).click()
    await dialog.getByText('for 10 more').waitFor({ state: 'detached' })
    const late = await world.person('Late')
    late.page = await late.tab('')
    await late.page.goto(link)
    await late.page.getByRole('heading', { name: 'This invite no longer works' }).waitFor()
  },
}
