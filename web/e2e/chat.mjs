// SPDX-License-Identifier: Apache-2.0

import { check, picture, shown, stored, until } from './harness.mjs'

export default {
  async 'two people come with invites and chat, with ticks and typing'(world) {
    const [alice, bob] = await world.friends('Alice Martin', 'Bob')
    await alice.open('Bob')
    await alice.write('Hello Bob')
    await alice.page.getByLabel('Delivered').first().waitFor()
    await until('the title to count', async () => (await bob.page.title()) === '(1) bavard')
    await bob.page.locator('nav a', { hasText: 'Hello Bob' }).waitFor()

    await bob.open('Alice')
    await alice.page.locator('main').getByLabel('Read').waitFor()
    await until('the title to be plain', async () => (await bob.page.title()) === 'bavard')

    await bob.page.getByRole('textbox').last().pressSequentially('Hi')
    await alice.page.locator('main header', { hasText: 'typing…' }).waitFor()
    await bob.page.getByRole('textbox').last().press('Enter')
    await alice.page.locator('main header', { hasText: 'online' }).waitFor()
    await until('the answer', async () => (await shown(alice.page)).join('|') === '> Hello Bob|Hi')
    await until('both to agree', async () => (await shown(bob.page)).join('|') === 'Hello Bob|> Hi')
  },

  async 'many messages stay in order on both sides'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await alice.open('Bob')
    await bob.open('Alice')
    for (let i = 0; i < 15; i++) {
      await alice.write(`a${i}`)
      await bob.write(`b${i}`)
    }
    const texts = async (p, by) => (await stored(p.page)).map((m) => m.body).filter((s) => s.startsWith(by)).join()
    const expected = (by) => Array.from({ length: 15 }, (_, i) => by + i).join()
    for (const p of [alice, bob]) {
      for (const by of ['a', 'b']) await until(`${p.name} to have all of ${by}`, async () => (await texts(p, by)) === expected(by))
    }
  },

  async 'a name that is taken gets digits, and an invite works once'(world) {
    const [one, two] = world.server.invites(2)
    const first = await world.person('Same Name')
    await first.join(one)
    const second = await world.person('Same Name')
    await second.join(two)
    await second.page.goto(world.server.origin + '/?me')
    const address = await second.page.locator('output').first().innerText()
    check(/^same\.name\d+@localhost$/.test(address), `address ${address}`)
    const late = await world.person('Late')
    const page = await late.tab(one)
    await page.getByRole('heading', { name: 'This invite no longer works' }).waitFor()
    late.page = page
  },

  async 'strangers find each other by address, and answer a request'(world) {
    const [a, b] = world.server.invites(2).map((i) => i)
    const [c] = world.server.invites(1)
    const anna = await world.person('Anna')
    await anna.join(a)
    const carl = await world.person('Carl')
    await carl.join(c)
    void b
    await anna.page.getByRole('link', { name: 'New chat' }).first().click()
    await anna.page.getByLabel('Address or link').fill('carl')
    await anna.page.getByRole('button', { name: 'Start chat' }).click()
    await anna.write('Hello, it is Anna')
    await carl.open('Anna')
    await carl.page.getByRole('button', { name: 'Allow' }).click()
    await carl.write('Nice to meet you')
    await anna.page.locator('.bubble', { hasText: 'Nice to meet you' }).waitFor()
    await anna.page.locator('main header', { hasText: 'online' }).waitFor()
    await carl.page.locator('main header', { hasText: 'online' }).waitFor()
  },

  async 'a message to nobody says so, and can be deleted'(world) {
    const [anna] = await world.friends('Anna', 'Bob')
    await anna.page.goto(world.server.origin + '/c/nobody.here@localhost')
    await anna.write('Is there anybody?')
    await anna.page.getByText('There is nobody with this address.').waitFor()
    await anna.page.getByRole('button', { name: 'Delete' }).click()
    await until('it to be gone', async () => (await shown(anna.page)).length === 0)
  },

  async 'a second device has everything, and reads for the first'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await alice.open('Bob')
    for (const text of ['one', 'two', 'three']) await alice.write(text)
    await alice.page.getByLabel('Delivered').nth(2).waitFor()

    const login = await bob.newPassword()
    const phone = await world.person('Bob', { viewport: { width: 390, height: 760 } })
    await phone.logIn(login)
    await phone.open('Alice')
    await until('the history', async () => (await shown(phone.page)).join('|') === 'one|two|three')
    await alice.page.locator('main').getByLabel('Read').nth(2).waitFor()
    await until('the first device to know that it was read', async () => (await bob.page.title()) === 'bavard')
    await phone.write('from my phone')
    await alice.page.locator('.bubble', { hasText: 'from my phone' }).waitFor()
    await bob.page.goto(world.server.origin + '/')
    await bob.open('Alice')
    await until('the carbon', async () => (await shown(bob.page)).join('|') === 'one|two|three|> from my phone')
  },

  async 'pictures for the documentation'(world) {
    if (!process.env.BAVARD_PICTURES) return
    const [anna, zoe, ...others] = await world.friends('Anna Keller', 'Zoë Müller', 'Maya', 'Inés Ortega', 'Tom', 'Grace')
    const news = ['Tuesday instead of Thursday, same place. Please tell the tenors!', 'The hut has a signal after all', 'ok']
    for (const [i, text] of news.entries()) {
      await others[i].open('Anna')
      await others[i].write(text)
      await anna.page.locator('nav a', { hasText: text }).waitFor()
    }
    await others[0].write('And bring the blue folder.')
    await anna.open('Tom')
    await anna.write('See you there')
    await others[2].close()
    await anna.open('Zoë')
    await zoe.page.setViewportSize({ width: 390, height: 760 })
    await zoe.open('Anna')
    const talk = [
      [anna, 'Did you see the heron by the bridge this morning?'],
      [zoe, 'No! Was it the big one again?'],
      [anna, 'The very one. It stood there as if it owned the place.'],
      [anna, 'I took a picture but it is mostly bridge 😄'],
      [zoe, 'Are we still on for Saturday?'],
      [anna, 'Yes. Ten at the market, then lunch at mine?'],
      [zoe, 'Perfect'],
      [zoe, '🎉'],
    ]
    for (const [who, text] of talk) {
      await who.write(text)
      const other = who === anna ? zoe : anna
      await other.page.locator('.bubble', { hasText: text }).last().waitFor()
    }
    const bubble = (p, text) => p.page.locator('[role=log] .bubble', { hasText: text }).last()
    await bubble(zoe, 'as if it owned').click({ button: 'right' })
    await zoe.page.getByRole('button', { name: 'React with 😂' }).click()
    await bubble(zoe, 'mostly bridge').click({ button: 'right' })
    await zoe.page.getByRole('dialog').getByRole('button', { name: 'Reply' }).click()
    await zoe.write('Send it anyway')
    await bubble(anna, 'Send it anyway').waitFor()
    await zoe.page.getByRole('textbox').last().pressSequentially('I bring b')
    await anna.page.locator('main header', { hasText: 'typing…' }).waitFor()
    await anna.page.locator('main').getByLabel('Read').last().waitFor()
    await anna.page.mouse.move(800, 150)
    await picture(anna.page, 'conversation')
    await picture(zoe.page, 'conversation-phone')
    await anna.page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' })
    await anna.page.waitForTimeout(300) // colours fade
    await picture(anna.page, 'conversation-dark')
    await anna.page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' })

    await anna.page.goto(world.server.origin + '/?group')
    await anna.page.getByLabel('Name of the group').fill('Choir')
    for (const name of ['Zoë Müller', 'Maya', 'Grace']) await anna.page.getByRole('group', { name: 'Contacts' }).getByText(name).click()
    await anna.page.getByRole('button', { name: 'Create group' }).click()
    await anna.page.getByRole('textbox', { name: 'Message Choir' }).waitFor()
    const [maya, , , grace] = others
    for (const p of [zoe, maya, grace]) await p.page.goto(world.server.origin + '/')
    for (const p of [zoe, maya, grace]) await p.open('Choir')
    const sung = [
      [anna, 'Tuesday instead of Thursday, same place. Who tells the tenors?'],
      [maya, 'They never read anything.'],
      [grace, 'I read everything, I just never answer'],
      [zoe, '@Grace then bring the blue folder, please'],
    ]
    for (const [who, text] of sung) {
      await who.write(text)
      await bubble(anna, text).waitFor()
    }
    await bubble(maya, 'I read everything').click({ button: 'right' })
    await maya.page.getByRole('button', { name: 'React with 😂' }).click()
    await anna.page.locator('.reactions', { hasText: '😂' }).waitFor()
    await bubble(anna, 'Tuesday').getByLabel('Read').waitFor()
    await anna.page.locator('main header .open').click()
    await anna.page.getByText('Only admins write').waitFor()
    await anna.page.mouse.move(20, 700)
    await anna.page.waitForTimeout(300)
    await picture(anna.page, 'group')
  },
}
