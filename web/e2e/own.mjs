// SPDX-License-Identifier: Apache-2.0

// What concerns oneself and one's chats as a whole: who sees what.

import { readFileSync } from 'node:fs'
import { audit } from './access.mjs'
import { group } from './groups.mjs'
import { check, inStore, meta, picture, shown, stored, until } from './harness.mjs'

const bubble = (p, text) => p.page.locator('[role=log] .bubble', { hasText: text }).last()
const status = (p) => p.page.locator('main header .status')

/** One more device of somebody, by a link. */
async function device(world, p, options) {
  await p.page.goto(world.server.origin + '/?devices')
  await p.page.getByRole('button', { name: 'Link a device' }).click()
  const link = await p.page.locator('output').innerText()
  const other = await world.person(p.name, options)
  other.page = await other.tab('')
  await other.page.goto(link)
  await other.page.getByRole('button', { name: 'Link this device' }).click()
  await other.page.getByRole('heading', { name: 'bavard', exact: true }).waitFor()
  await p.page.goto(world.server.origin + '/')
  return other
}

/** Opens the privacy of somebody, once it is known. */
async function privacy(world, p) {
  await p.page.goto(world.server.origin + '/?me')
  await p.page.getByRole('button', { name: 'Privacy' }).click()
  const dialog = p.page.getByRole('dialog')
  await dialog.getByLabel('Read receipts').and(dialog.locator(':enabled')).waitFor()
  return dialog
}

export default {
  async 'who hides is seen by nobody, and shown again when they like'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    const phone = await device(world, anna, { viewport: { width: 390, height: 760 }, colorScheme: 'dark' })
    await bob.open('Anna')
    await status(bob).getByText('online').waitFor()
    const dialog = await privacy(world, anna)
    await audit(anna.page, 'privacy')
    await picture(anna.page, 'privacy')
    await dialog.getByLabel('Last seen and online').selectOption('nobody')
    await status(bob).getByText('online').waitFor({ state: 'detached' })
    await until('it to be known on the other device', async () => (await (await privacy(world, phone)).getByLabel('Last seen and online').inputValue()) === 'nobody')
    await audit(phone.page, 'privacy, dark, narrow')
    await picture(phone.page, 'privacy-narrow')
    // Both come back, and Bob looks again.
    await anna.page.goto(world.server.origin + '/')
    await bob.page.reload()
    await anna.open('Bob')
    await status(anna).getByText('online').waitFor()
    await anna.write('I am not here')
    await bubble(bob, 'I am not here').waitFor()
    check((await status(bob).innerText()).includes('@'), 'Bob sees neither that she is here nor when she was')

    await (await privacy(world, phone)).getByLabel('Last seen and online').selectOption('contacts')
    await status(bob).getByText('online').waitFor()
    for (const p of [phone, anna]) {
      await p.page.goto(world.server.origin + '/?me')
      await p.page.getByRole('button', { name: 'Log out' }).click()
      await p.page.getByRole('button', { name: 'Log out and delete' }).click()
    }
    await status(bob).getByText(/^last here: /).waitFor()
  },

  async 'without read receipts nobody is told and nothing is shown, but one’s own devices know'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    const phone = await device(world, anna)
    const dialog = await privacy(world, anna)
    await dialog.getByLabel('Read receipts').uncheck()
    await until('it to be known on the other device', async () => !(await (await privacy(world, phone)).getByLabel('Read receipts').isChecked()))
    await phone.page.goto(world.server.origin + '/')
    await bob.open('Anna')
    await bob.write('Have you seen this?')
    await phone.page.locator('nav a', { hasText: 'Have you seen this?' }).getByLabel('1 unread message').waitFor()
    await anna.page.goto(world.server.origin + '/')
    await anna.open('Bob')
    await bubble(anna, 'Have you seen this?').waitFor()
    await phone.page.locator('nav a').getByLabel('1 unread message').waitFor({ state: 'detached' })
    await anna.write('Maybe')
    await bubble(bob, 'Maybe').waitFor()
    await bob.write('I see')
    await bubble(anna, 'I see').waitFor()
    // Whatever was sent before these is here.
    check((await stored(bob.page)).find((m) => m.body === 'Have you seen this?').tick === 2, 'Bob was not told that it was read')
    await bubble(anna, 'Maybe').getByLabel('Delivered').waitFor()
    await until('Bob to have told that he has read', async () => (await stored(anna.page)).find((m) => m.body === 'Maybe').tick === 3)
    check((await bubble(anna, 'Maybe').getByLabel('Read').count()) === 0, 'nor does Anna see it')

    const again = await privacy(world, phone)
    await again.getByLabel('Read receipts').check()
    await bubble(anna, 'Maybe').getByLabel('Read').waitFor()
    await bob.write('And now?')
    await bubble(anna, 'And now?').waitFor()
    await bubble(bob, 'Have you seen this?').getByLabel('Read').waitFor()
    await bubble(bob, 'And now?').getByLabel('Read').waitFor()
  },
  async 'who is reported is blocked, and who runs the server sees why; a stranger’s message offers it'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    await anna.open('Bob')
    await anna.write('Buy my pills')
    await bob.open('Anna')
    await bubble(bob, 'Buy my pills').waitFor()
    await bob.page.locator('main header').getByRole('button', { name: /Contact info/ }).click()
    await bob.page.getByRole('button', { name: 'Block and report' }).click()
    const dialog = bob.page.getByRole('dialog')
    await dialog.getByLabel('Abuse or threats').check()
    await dialog.getByLabel('What happened? (optional)').fill('She sells things.')
    await audit(bob.page, 'reporting somebody')
    await picture(bob.page, 'report')
    await dialog.getByRole('button', { name: 'Block and report' }).click()
    await bob.page.locator('.mute').getByText('You have blocked Anna.').waitFor()
    const [first] = await until('the report', () => world.server.reports().filter((r) => r.text === 'She sells things.').length && world.server.reports())
    check(first.jid.startsWith('anna') && first.reason.endsWith(':abuse') && first.messages.length === 1, `it says whom, why, and which message: ${JSON.stringify(first)}`)

    // Somebody who knows the address only.
    const mallory = await world.person('Mallory', { viewport: { width: 390, height: 760 } })
    await mallory.join(world.server.invites(1)[0])
    const { jid: address } = await meta(bob.page, 'account')
    await mallory.page.goto(`${world.server.origin}/chat/${address}`)
    await mallory.write('You have won')
    await bob.page.goto(world.server.origin + '/')
    await bob.open('Mallory')
    const request = bob.page.locator('.request')
    await request.getByRole('button', { name: 'Block and report' }).click()
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    await bob.page.setViewportSize({ width: 390, height: 760 })
    await audit(bob.page, 'a stranger, narrow')
    await picture(bob.page, 'stranger-narrow')
    await request.getByRole('button', { name: 'Block and report' }).click()
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Block and report' }).click()
    await bob.page.locator('.mute').getByText('You have blocked').waitFor()
    await until('the other report', () => world.server.reports().some((r) => r.jid.startsWith('mallory') && r.reason.endsWith(':spam')))
  },
  async 'a chat that is deleted goes from all devices, and what waits to be sent does not'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    const phone = await device(world, anna, { viewport: { width: 390, height: 760 }, colorScheme: 'dark' })
    const bodies = async (p) => (await stored(p.page)).map((m) => m.body).join('|')
    const ask = async (p) => {
      await p.page.locator('nav a', { hasText: 'Bob' }).click({ button: 'right' })
      await p.page.getByRole('button', { name: 'Delete chat' }).click()
      return p.page.getByRole('dialog')
    }
    await bob.open('Anna')
    await anna.open('Bob')
    for (const text of ['one', 'two']) await bob.write(text)
    await bubble(anna, 'two').waitFor()
    await anna.write('three')
    await bubble(bob, 'three').waitFor()
    await until('all of it on the other device', async () => (await bodies(phone)).includes('three'))
    // One device is away, the other deletes.
    await phone.page.goto('about:blank')
    const dialog = await ask(anna)
    await dialog.getByText('Its messages go from all your devices').waitFor()
    await audit(anna.page, 'deleting a chat')
    await picture(anna.page, 'delete-chat')
    await dialog.getByRole('button', { name: 'Delete' }).click()
    await until('nothing of it on this device', async () => (await bodies(anna)) === '')
    await anna.page.getByText('Nothing here yet').waitFor()
    check((await bodies(bob)) === 'one|two|three', 'Bob keeps what he has')
    await bob.write('four')
    await bubble(anna, 'four').waitFor()
    await phone.page.goto(world.server.origin + '/')
    await until('only what was said since on the one that was away', async () => (await bodies(phone)) === 'four')
    await phone.open('Bob')
    await phone.page.getByText('This is the beginning of your chat.').waitFor()
    check((await shown(phone.page)).join('|') === 'four', 'and it shows that')
    // While both look.
    await (await ask(anna)).getByRole('button', { name: 'Delete' }).click()
    for (const p of [anna, phone]) await until('nothing of it on both', async () => (await bodies(p)) === '')

    // What waits.
    await world.server.kill()
    await anna.write('five')
    const warned = await ask(anna)
    await warned.getByText('1 message was not sent yet. It stays, and is sent.').waitFor()
    await warned.getByRole('button', { name: 'Delete' }).click()
    await world.server.start()
    await bubble(bob, 'five').waitFor()
    await warned.waitFor({ state: 'detached' })
    await anna.write('six')
    await bubble(bob, 'six').waitFor()
    check((await bodies(bob)) === 'one|two|three|four|five|six', `once and in order: ${await bodies(bob)}`)
    await until('the newest at least', async () => (await bodies(anna)).endsWith('six'))
  },
  async 'a group’s chat is deleted with its stars, an export is cancelled, and the group is reported'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    await group(anna, 'Choir', 'Bob')
    await bob.open('Choir')
    await bob.write('la la')
    await bubble(anna, 'la la').click({ button: 'right' })
    await anna.page.getByRole('dialog').getByRole('button', { name: 'Star', exact: true }).click()
    await bubble(anna, 'la la').getByLabel('Starred').waitFor()
    const phone = await device(world, anna, { viewport: { width: 390, height: 760 }, colorScheme: 'dark' })
    await phone.open('Choir')
    await bubble(phone, 'la la').getByLabel('Starred').waitFor()
    const stars = (p) => meta(p.page, 'stars').then((all) => Object.keys(all ?? {}).length)
    check((await stars(phone)) === 1, 'the server has the star')

    // Who does not want it any more says so.
    const info = (p) => p.page.locator('main header').getByRole('button', { name: /Group info/ }).click()
    await info(phone)
    await phone.page.getByRole('button', { name: 'Export chat' }).click()
    const exporting = phone.page.getByRole('dialog')
    await exporting.getByRole('button', { name: 'Cancel' }).click()
    await exporting.waitFor({ state: 'detached' })
    check((await phone.page.getByRole('alert').filter({ hasText: /./ }).count()) === 0, 'nothing is said to have gone wrong')

    // Anna deletes it for herself, on all devices; Bob keeps it, and what he says begins anew.
    await anna.page.goto(world.server.origin + '/')
    await anna.page.locator('nav a', { hasText: 'Choir' }).click({ button: 'right' })
    await anna.page.getByRole('button', { name: 'Delete chat' }).click()
    await anna.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    const has = async (p) => (await stored(p.page)).some((m) => m.body === 'la la')
    for (const p of [anna, phone]) await until('nothing of it', async () => !(await has(p)))
    check(await has(bob), 'Bob keeps it')
    for (const p of [anna, phone]) await until('no star of it on the server', async () => (await stars(p)) === 0)
    await bob.write('once more')
    await anna.open('Choir')
    await bubble(anna, 'once more').waitFor()

    await info(anna)
    await anna.page.getByRole('button', { name: 'Block and report' }).click()
    const dialog = anna.page.getByRole('dialog')
    await dialog.getByText('You leave the group').waitFor()
    await audit(anna.page, 'reporting a group')
    await dialog.getByRole('button', { name: 'Block and report' }).click()
    const report = await until('the report', () => world.server.reports().find((r) => r.jid.includes('@rooms.')))
    check(report.messages.length === 1, `with what was said last: ${JSON.stringify(report)}`)
    await bob.page.getByText('Anna left').waitFor()
  },
  async 'an account that is deleted is gone, from the server and from all devices'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    await anna.open('Bob')
    await anna.write('I am leaving')
    await bob.page.locator('nav a', { hasText: 'I am leaving' }).waitFor()
    const phone = await device(world, anna)
    await anna.page.goto(world.server.origin + '/?me')
    await anna.page.getByRole('button', { name: 'Delete account' }).click()
    const dialog = anna.page.getByRole('dialog')
    const sure = dialog.getByRole('button', { name: 'Delete for good' })
    const field = dialog.getByRole('textbox')
    const address = (await dialog.locator('label').innerText()).split(' ')[1]
    await audit(anna.page, 'deleting the account')
    await picture(anna.page, 'delete-account')
    await field.fill(address.slice(0, -1))
    check(await sure.isDisabled(), 'nobody does it by mistake')
    await field.fill(address)
    check(world.server.users().includes(address), 'she is there')
    await sure.click()
    await anna.page.getByLabel('Password').waitFor()
    check(!world.server.users().includes(address), 'the server has her no more')
    const left = await inStore(anna.page, async (db, result) => {
      let n = 0
      for (const name of db.objectStoreNames) n += await result(db.transaction(name).objectStore(name).count())
      for (const name of await caches.keys()) n += (await (await caches.open(name)).keys()).length
      return n + localStorage.length
    })
    check(left === 0, `nothing is left on the device: ${left}`)
    await phone.page.getByRole('heading', { name: 'This device was logged out' }).waitFor()
    await phone.page.getByText('the account was deleted').waitFor()
    await bob.open('Anna')
    await bob.write('Where are you?')
    await bob.page.getByText('There is nobody with this address.').waitFor()
  },
  async 'what one calls oneself is so on all of one’s devices'(world) {
    const [anna] = await world.friends('Anna Keller', 'Bob')
    const phone = await device(world, anna)
    const called = (p) => p.page.locator('.panel .who .name')
    await phone.page.goto(world.server.origin + '/?me')
    await called(phone).getByText('Anna Keller', { exact: true }).waitFor()
    await phone.page.getByRole('button', { name: 'Edit profile' }).click()
    await phone.page.getByLabel('Your name').fill('Anna K.')
    await phone.page.getByRole('button', { name: 'Save' }).click()
    await anna.page.goto(world.server.origin + '/?me')
    await called(anna).getByText('Anna K.', { exact: true }).waitFor()
    await phone.page.reload()
    await called(phone).getByText('Anna K.', { exact: true }).waitFor()
  },
  async 'a chat is exported whole, also what the device does not have'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    await bob.open('Anna')
    // More than a page of the archive, and than a new device begins with.
    const all = Array.from({ length: 90 }, (_, i) => `line ${i + 1}`)
    for (const text of all) await bob.write(text)
    await anna.open('Bob')
    await until('all of it', async () => (await stored(anna.page)).length === 90)
    await anna.write('Read\nall of it')
    await bubble(bob, 'all of it').waitFor()
    const phone = await device(world, anna)
    check((await stored(phone.page)).length < 10, 'the new device does not have it')
    await phone.open('Bob')
    await phone.page.locator('main header').getByRole('button', { name: /Contact info/ }).click()
    await phone.page.getByRole('button', { name: 'Export chat' }).click()
    const dialog = phone.page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Export', exact: true }).click()
    await dialog.getByText('91 messages').waitFor()
    const read = async (label) => {
      const coming = phone.page.waitForEvent('download')
      await dialog.getByRole('link', { name: label }).click()
      const file = await coming
      return { name: file.suggestedFilename(), text: readFileSync(await file.path(), 'utf8') }
    }
    const text = await read('Save as text')
    await phone.page.mouse.move(5, 5)
    await audit(phone.page, 'an exported chat')
    await picture(phone.page, 'export')
    check(/^bavard Bob \d{4}-\d\d-\d\d\.txt$/.test(text.name), text.name)
    const lines = text.text.split('\n').filter((l) => / line \d+$/.test(l))
    check(lines.length === 90 && lines.every((l, i) => l.endsWith(`Bob: line ${i + 1}`)), `in order, by whom: ${text.text.slice(0, 300)}`)
    check(/Anna: Read\nall of it/.test(text.text), `and what was answered: ${text.text.slice(-300)}`)
    const data = JSON.parse((await read('Save as data')).text)
    check(data.messages.at(-1).name === 'Anna', `by the name of who exports, too: ${data.messages.at(-1).name}`)
    check(data.messages.length === 91 && data.messages.at(-1).from === data.account && data.messages[0].from === data.chat.jid, JSON.stringify(data).slice(0, 300))
  },
}
