// SPDX-License-Identifier: Apache-2.0

// What can be done with a message: two browsers, and another client where it says so.

import { check, picture, shown, stored, until } from './harness.mjs'

const bubble = (p, text) => p.page.locator('[role=log] .bubble', { hasText: text }).last()

/** Opens a message's menu as a mouse does, and chooses. */
async function choose(p, text, item) {
  await bubble(p, text).click({ button: 'right' })
  await p.page.getByRole('dialog').getByRole('button', { name: item, exact: true }).click()
}

async function talk(world, ...names) {
  const [alice, bob] = await world.friends(...(names.length > 0 ? names : ['Alice', 'Bob']))
  await alice.open('Bob')
  await bob.open('Alice')
  await alice.write('Shall we meet at ten?')
  await bubble(bob, 'Shall we meet').waitFor()
  return [alice, bob]
}

export default {
  async 'answers quote, and lead to what they answer'(world) {
    const [alice, bob] = await talk(world)
    for (let i = 0; i < 30; i++) await alice.write(`line ${i}`)
    await bubble(bob, 'line 29').waitFor()
    await bob.page.getByRole('log').evaluate((log) => (log.scrollTop = 0))
    await choose(bob, 'Shall we meet', 'Reply')
    await bob.page.getByText('Reply to Alice').waitFor()
    await bob.write('Ten is fine')
    const answer = bubble(alice, 'Ten is fine')
    await answer.locator('.quote', { hasText: 'Shall we meet at ten?' }).waitFor()
    check((await answer.locator('.quote .who').innerText()) === 'You', 'Alice is quoted')
    await answer.getByRole('button', { name: 'Go to the message' }).click()
    await alice.page.locator('.bubble.flash', { hasText: 'Shall we meet' }).waitFor()
    await alice.page.waitForFunction(() => document.activeElement?.textContent.includes('Shall we meet'))
  },

  async 'reactions come and go on both sides'(world) {
    const [alice, bob] = await talk(world)
    await choose(bob, 'Shall we meet', 'React with 👍')
    await alice.page.locator('.reactions', { hasText: '👍' }).waitFor()
    await alice.page.locator('.reactions button').click()
    await until('both to be counted', async () => (await bob.page.locator('.reactions').innerText()).replace(/\s/g, '') === '👍2')
    await bob.page.locator('.reactions button').click()
    await until('one to be left', async () => (await alice.page.locator('.reactions').innerText()).trim() === '👍')
    await bubble(bob, 'Shall we meet').hover()
    await bob.page.getByRole('button', { name: 'React', exact: true }).click()
    await bob.page.getByRole('dialog').getByRole('button', { name: '🦊' }).click()
    await alice.page.locator('.reactions', { hasText: '🦊' }).waitFor()
  },

  async 'words are put right, and taken back for everyone'(world) {
    const [alice, bob] = await talk(world)
    await alice.page.getByRole('textbox', { name: /^Message / }).press('ArrowUp')
    await alice.page.getByText('Edit message').waitFor()
    await alice.write('Shall we meet at eleven?')
    await bubble(bob, 'at eleven?').getByText('edited').waitFor()
    check((await shown(bob.page)).length === 1, 'there is one message')
    await bob.page.locator('nav a', { hasText: 'eleven' }).waitFor()
    await choose(alice, 'at eleven', 'Delete for everyone')
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await bubble(bob, 'This message was deleted').waitFor()
    await bubble(alice, 'You deleted this message').waitFor()
    await bob.page.reload()
    await bubble(bob, 'This message was deleted').waitFor()
    const left = await bob.page.evaluate(() => document.body.innerText.includes('eleven'))
    check(!left, 'the words are gone')
  },

  async 'stars, copies and forwards'(world) {
    const [alice, bob, carl] = await world.friends('Alice', 'Bob', 'Carl')
    await alice.open('Bob')
    await alice.write('The code of the gate is 4711')
    await bob.open('Alice')
    await bubble(bob, '4711').waitFor()
    await bob.page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await choose(bob, '4711', 'Copy text')
    await until('it to be copied', async () => (await bob.page.evaluate(() => navigator.clipboard.readText())) === 'The code of the gate is 4711')
    await choose(bob, '4711', 'Forward')
    await bob.page.getByRole('dialog').getByText('Carl').click()
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Forward' }).click()
    await carl.page.locator('nav a', { hasText: '4711' }).waitFor()
    await choose(bob, '4711', 'Star')
    await bubble(bob, '4711').getByLabel('Starred').waitFor()
    await bob.page.getByRole('link', { name: 'You', exact: true }).click()
    await bob.page.getByRole('link', { name: 'Starred messages' }).click()
    await bob.page.locator('aside').getByText('4711').click()
    await bob.page.locator('.bubble.flash', { hasText: '4711' }).waitFor()
  },

  async 'stars are on all devices, also one that knew nothing, and follow what was starred without a connection'(world) {
    const [alice, bob] = await talk(world)
    await bob.write('I will bring the tart')
    await bubble(bob, 'the tart').getByLabel(/Delivered|Read/).waitFor()
    for (const text of ['Shall we meet', 'the tart']) {
      await choose(bob, text, 'Star')
      await bubble(bob, text).getByLabel('Starred').waitFor()
    }
    for (let i = 0; i < 70; i++) await alice.write(`line ${i}`)
    await bubble(bob, 'line 69').waitFor()
    await bob.page.goto(bob.origin + '/?devices')
    await bob.page.getByRole('button', { name: 'Link a device' }).click()
    const link = await bob.page.locator('output').innerText()
    const phone = await world.person('Bob')
    phone.page = await phone.tab('')
    await phone.page.goto(link)
    await phone.page.getByRole('button', { name: 'Link this device' }).click()
    await phone.page.locator('nav a', { hasText: 'line 69' }).waitFor()
    check((await stored(phone.page)).length === 1, 'it knows more than the last message')
    const starred = async (p) => {
      await p.page.goto(p.origin + '/?starred')
      return (text) => p.page.locator('aside a', { hasText: text })
    }
    let found = await starred(phone)
    await found('the tart').waitFor()
    await found('Shall we meet').click()
    await phone.page.locator('.bubble.flash', { hasText: 'Shall we meet' }).getByLabel('Starred').waitFor()
    await choose(phone, 'Shall we meet', 'Remove star')
    await bubble(phone, 'Shall we meet').getByLabel('Starred').waitFor({ state: 'hidden' })

    // The other device takes it over; what it stars while nobody can be told is told later.
    await bob.page.goto(bob.origin + '/')
    await bob.open('Alice')
    found = await starred(bob)
    await found('the tart').waitFor()
    await found('Shall we meet').waitFor({ state: 'detached' })
    await bob.page.goto(bob.origin + '/')
    await bob.open('Alice')
    found = await starred(phone)
    await found('the tart').waitFor()
    await world.server.kill()
    await choose(bob, 'line 69', 'Star')
    await bubble(bob, 'line 69').getByLabel('Starred').waitFor()
    await bob.page.reload()
    await bubble(bob, 'line 69').getByLabel('Starred').waitFor()
    await world.server.start()
    // The list follows while it is open.
    await found('line 69').waitFor()
    await choose(alice, 'line 69', 'Delete for everyone')
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await found('line 69').waitFor({ state: 'detached' })
  },

  async 'all of it waits out an outage, and arrives once and in order'(world) {
    const [alice, bob] = await talk(world)
    await alice.page.locator('main').getByLabel('Read').first().waitFor()
    await bob.installed()
    await world.server.kill()
    await choose(bob, 'Shall we meet', 'React with ❤️')
    await bob.write('I am not shure')
    await bubble(bob, 'I am not shure').waitFor()
    await bob.page.getByRole('textbox', { name: /^Message / }).press('ArrowUp')
    await bob.page.getByText('Edit message').waitFor()
    await bob.write('I am not sure')
    await choose(bob, 'Shall we meet', 'Reply')
    await bob.write('Maybe later')
    await bubble(bob, 'Maybe later').waitFor()
    await bob.write('Forget it')
    await choose(bob, 'Forget it', 'Delete for everyone')
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await bubble(bob, 'You deleted this message').waitFor()
    await bob.page.reload()
    await until('three clocks', async () => (await bob.page.locator('main').getByLabel('Waiting to be sent').count()) === 3)
    await world.server.start()
    await bubble(alice, 'This message was deleted').waitFor()
    const wanted = '> Shall we meet at ten?|I am not sure|Maybe later|This message was deleted'
    await until('all to be there once and in order', async () => (await shown(alice.page)).join('|') === wanted)
    await alice.page.locator('.reactions', { hasText: '❤️' }).waitFor()
    await until('one quote', async () => (await alice.page.locator('.quote').count()) === 1)
  },

  async 'the keyboard reaches all of it'(world) {
    const [alice, bob] = await talk(world)
    await bob.page.getByRole('log').focus()
    await bob.page.keyboard.press('ArrowUp')
    await bob.page.keyboard.press('Enter')
    await bob.page.getByRole('dialog').waitFor()
    await bob.page.keyboard.press('ArrowRight')
    await bob.page.keyboard.press('Enter')
    await alice.page.locator('.reactions', { hasText: '❤️' }).waitFor()
    await bob.page.getByRole('log').focus()
    await bob.page.keyboard.press('ArrowUp')
    await bob.page.keyboard.press('Shift+F10')
    await bob.page.getByRole('dialog').waitFor()
    await bob.page.keyboard.press('Escape')
    await bob.page.getByRole('dialog').waitFor({ state: 'detached' })
    check(await bob.page.getByRole('textbox', { name: /^Message / }).isVisible(), 'the conversation is still there')
  },

  async 'pictures for the eye'(world) {
    if (!process.env.BAVARD_PICTURES) return
    const [alice, bob] = await talk(world)
    await bob.write('The heron was there again, by the way')
    await choose(alice, 'heron', 'React with 😮')
    await choose(alice, 'heron', 'Reply')
    await alice.write('Did you take a picture this time?')
    await bubble(bob, 'picture this time').waitFor()
    await choose(bob, 'Shall we meet', 'React with 👍')
    await bob.write('No. It left when it saw me 😄')
    await bubble(alice, 'It left').waitFor()
    await bubble(alice, 'picture this time').click({ button: 'right' })
    await alice.page.waitForTimeout(300)
    await picture(alice.page, 'x-menu')
    await alice.page.keyboard.press('Escape')
    await alice.page.getByRole('button', { name: 'Emoji' }).click()
    await choose(alice, 'heron', 'Reply')
    await alice.page.waitForTimeout(300)
    await picture(alice.page, 'x-reply-emoji')
    await bob.page.setViewportSize({ width: 390, height: 760 })
    await bob.page.emulateMedia({ colorScheme: 'dark' })
    await bubble(bob, 'It left').click({ button: 'right' })
    await bob.page.waitForTimeout(300)
    await picture(bob.page, 'x-menu-phone')
  },
}
