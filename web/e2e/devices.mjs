// SPDX-License-Identifier: Apache-2.0

// Logging in: tokens, what ends them, and the devices of an account.

import { audit } from './access.mjs'
import { check, meta, Network, picture, shown, stored, until } from './harness.mjs'

const kept = (page) => meta(page, 'account')

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

  async 'one more device comes by a link, has all chats and what was set for them, and is shut out again'(world) {
    const [anna, ben, cleo] = await world.friends('Anna', 'Ben', 'Cleo')
    for (const p of [ben, cleo]) {
      await p.open('Anna')
      for (let i = 1; i <= 3; i++) await p.write(`${p.name} ${i}`)
      await anna.page.locator('nav a', { hasText: `${p.name} 3` }).waitFor()
    }
    await anna.page.locator('nav a', { hasText: 'Ben' }).click({ button: 'right' })
    await audit(anna.page, 'menu of a chat')
    await picture(anna.page, 'chat-menu')
    await anna.page.getByRole('button', { name: 'Pin', exact: true }).click()
    await until('the pinned one on top', async () => (await anna.page.locator('nav a').first().innerText()).includes('Ben'))
    await anna.page.locator('nav a', { hasText: 'Ben' }).click({ button: 'right' })
    await anna.page.getByRole('button', { name: 'Mute…' }).click()
    await anna.page.getByRole('button', { name: 'Mute for ever' }).click()
    await anna.page.locator('nav a', { hasText: 'Ben' }).getByRole('img', { name: 'muted' }).waitFor()

    await anna.page.goto(world.server.origin + '/?devices')
    await anna.page.getByRole('button', { name: 'Link a device' }).click()
    await anna.page.getByRole('img', { name: 'Code to scan' }).waitFor()
    await anna.page.getByText('this device').waitFor()
    await audit(anna.page, 'devices')
    await picture(anna.page, 'devices')
    const link = await anna.page.locator('output').innerText()
    const phone = await world.person('Anna', { viewport: { width: 390, height: 760 }, colorScheme: 'dark' })
    phone.page = await phone.tab('')
    await phone.page.goto(link)
    await phone.page.getByRole('heading', { name: /^Use anna/ }).waitFor()
    check(!phone.page.url().includes('#'), 'the token is not left in the address')
    await audit(phone.page, 'a device that comes by a link, dark, narrow')
    await picture(phone.page, 'link-device')
    await phone.page.getByRole('button', { name: 'Link this device' }).click()
    const row = (p, name) => p.page.locator('nav a', { hasText: name })
    await row(phone, 'Ben').getByRole('img', { name: 'muted' }).waitFor()
    await row(phone, 'Ben 3').getByLabel('3 unread messages').waitFor()
    await row(phone, 'Cleo 3').getByLabel('3 unread messages').waitFor()
    await until('what is pinned to be on top there, too', async () => (await phone.page.locator('nav a').first().innerText()).includes('Ben'))
    check((await stored(phone.page)).length === 2, 'one message of each came, not the archive')

    // Read there, read here; archived there, out of sight here; until somebody writes.
    await anna.page.goto(world.server.origin + '/')
    await phone.open('Cleo')
    await until('all of it', async () => (await shown(phone.page)).length === 3)
    await row(anna, 'Cleo').getByLabel('3 unread messages').waitFor({ state: 'detached' })
    await phone.page.goto(world.server.origin + '/')
    // A long press, of which iOS makes no event of its own.
    const archive = phone.page.getByRole('button', { name: 'Archive' })
    await until('the menu', async () => {
      await row(phone, 'Cleo').dispatchEvent('pointerdown', { pointerType: 'touch', bubbles: true })
      return archive.waitFor({ timeout: 5_000 }).then(() => true, () => false)
    })
    await archive.click()
    await row(anna, 'Cleo').waitFor({ state: 'detached' })
    await anna.page.getByRole('link', { name: 'Archived' }).click()
    await row(anna, 'Cleo').waitFor()
    await audit(anna.page, 'archived chats')
    await anna.page.getByRole('button', { name: 'Back' }).first().click()
    await cleo.write('again')
    await row(anna, 'Cleo').waitFor()

    const late = await world.person('Late')
    late.page = await late.tab('')
    await late.page.goto(link)
    await late.page.getByRole('button', { name: 'Link this device' }).click()
    await late.page.getByText('This link no longer works').waitFor()

    await anna.page.goto(world.server.origin + '/?devices')
    await anna.page.getByRole('listitem').nth(1).getByRole('button').click()
    await anna.page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click()
    await phone.page.getByRole('heading', { name: 'This device was logged out' }).waitFor()
    await until('one device left', async () => (await anna.page.getByRole('listitem').count()) === 1)
  },

  async 'a recovery code is offered after the first message, and brings everything back to an empty browser'(world) {
    const [anna, ben] = await world.friends('Anna', 'Ben')
    await anna.open('Ben')
    await anna.write('do not forget me')
    const offer = anna.page.getByRole('complementary', { name: 'Recovery code' })
    await offer.waitFor()
    await audit(anna.page, 'the offer of a recovery code')
    await offer.getByRole('button', { name: 'Later' }).click()
    await offer.waitFor({ state: 'detached' })
    await anna.page.evaluate(() => localStorage.setItem('offered', '1'))
    await anna.page.reload()
    await offer.getByRole('button', { name: 'Recovery code' }).click()
    await anna.page.getByRole('button', { name: 'Make a recovery code' }).click()
    await anna.page.getByText('it is not shown again').waitFor()
    await audit(anna.page, 'a recovery code')
    const [address, code] = await anna.page.getByRole('dialog').locator('output').allInnerTexts()
    await anna.page.getByRole('button', { name: 'I wrote it down' }).click()
    await ben.open('Anna')
    await ben.write('never')
    await anna.page.locator('nav a', { hasText: 'never' }).waitFor()
    await anna.close()

    const again = await world.person('Anna')
    again.page = await again.tab('/')
    await again.page.getByRole('button', { name: 'I have a recovery code' }).click()
    await again.page.getByLabel('Address').fill(address)
    await again.page.getByRole('textbox', { name: 'Recovery code' }).fill(code.toLowerCase().replaceAll('-', ' '))
    await again.page.getByRole('button', { name: 'Log in' }).click()
    await again.open('Ben')
    await until('everything', async () => (await shown(again.page)).join('|') === '> do not forget me|never')
  },
}
