// SPDX-License-Identifier: Apache-2.0

// What is said, and finding and handling it: styling, search in a chat, several messages at once, links, who is mentioned.

import { audit } from './access.mjs'
import { crier, crowd } from './crier.mjs'
import { burst, check, meta, picture, shown, until } from './harness.mjs'
import { chatOf, seed, village } from './seed.mjs'

const bubble = (p, text) => p.page.locator('[role=log] .bubble', { hasText: text }).last()

/** Opens a message's menu as a mouse does, and chooses. */
async function choose(p, text, item) {
  await bubble(p, text).click({ button: 'right' })
  await p.page.getByRole('dialog').getByRole('button', { name: item, exact: true }).click()
}

async function talk(world, ...lines) {
  const [alice, bob] = await world.friends('Alice', 'Bob')
  await alice.open('Bob')
  await bob.open('Alice')
  for (const line of lines) {
    await alice.write(line)
    await bubble(bob, line.split('\n')[0]).waitFor()
  }
  return [alice, bob]
}

const CODE = 'Try *this*, it is _much_ ~slower~ faster:\n```\nmake <b>all</b> *now*\n```\n> who said https://a.example/x_y?\n> `I` did\nend'

export default {
  async 'texts are styled as people write them, and stay what they were'(world) {
    const [alice, bob] = await talk(world, CODE)
    const body = bubble(bob, 'Try').locator('.body')
    await body.locator('strong', { hasText: '*this*' }).waitFor()
    const texts = (selector) => body.locator(selector).allInnerTexts()
    check((await texts('strong')).join() === '*this*' && (await texts('em')).join() === '_much_' && (await texts('s')).join() === '~slower~', 'spans')
    check((await texts('pre')).join().includes('make <b>all</b> *now*'), 'what is preformatted is as it was')
    check((await body.locator('pre *:not(span)').count()) === 0 && (await body.locator('pre b').count()) === 0, 'nothing in it is markup')
    check((await body.locator('blockquote a').getAttribute('href')) === 'https://a.example/x_y', 'a link in a quotation')
    check((await texts('blockquote code')).join() === '`I`', 'code in a quotation')
    check((await shown(bob.page))[0] === CODE && (await shown(alice.page))[0] === `> ${CODE}`, 'all of the text is there')
    // Nothing in it is a line that nobody wrote.
    const heights = await body.evaluate((el) => [el.getBoundingClientRect().height, parseFloat(getComputedStyle(el).lineHeight)])
    check(heights[0] < heights[1] * 9.5, `as many lines as there are: ${heights}`)
    await bob.page.locator('nav a', { hasText: 'Try *this*' }).waitFor()
    await audit(bob.page, 'styled texts')
    await bob.page.emulateMedia({ colorScheme: 'dark' })
    await audit(bob.page, 'styled texts, dark')
    await picture(bob.page, 'styling')

    // Another client may say that it means what it writes.
    const { jid } = await meta(bob.page, 'account')
    await crier(alice.page, await alice.newPassword())
    await alice.page.evaluate((to) => globalThis.crier.send(`<message xmlns='jabber:client' to='${to}' type='chat' id='u1'><body>&gt; *_* &lt; https://a.example</body><unstyled xmlns='urn:xmpp:styling:0'/></message>`), jid)
    const plain = bubble(bob, '> *_* <').locator('.body')
    await plain.locator('a').waitFor()
    check((await plain.locator('strong, em, blockquote').count()) === 0, 'what is not to be styled is not')
    await bob.page.reload()
    await plain.locator('a').waitFor()
    check((await plain.locator('strong, em, blockquote').count()) === 0, 'nor later')
  },

  async 'keys put directives around what is selected'(world) {
    const [alice] = await talk(world, 'hello')
    const area = alice.page.getByRole('textbox', { name: /^Message / })
    const value = (what, text) => until(what, async () => (await area.inputValue()) === text)
    await area.fill('so good ')
    await area.evaluate((el) => el.setSelectionRange(3, 8))
    await area.press('Control+b')
    await value('bold', 'so *good* ')
    await area.press('Control+i')
    await value('bold and italic', 'so *_good_* ')
    await area.press('Control+i')
    await value('bold again', 'so *good* ')
    await area.press('Control+z')
    await value('undone', 'so *_good_* ')
    await area.fill('a b\n\nc')
    await area.press('Control+a')
    await area.press('Control+Shift+X')
    await value('each line', '~a b~\n\n~c~')
    await area.fill('')
    await area.press('Control+b')
    await value('room between', '**')
    await alice.page.keyboard.type('now')
    await area.press('Enter')
    await bubble(alice, 'now').locator('strong', { hasText: '*now*' }).waitFor()
  },

  async 'words are found in a long chat, and nothing waits for that'(world) {
    const p = await world.person('Jo')
    const page = (p.page = await p.tab('/'))
    await page.getByLabel('Password').waitFor()
    const now = Date.now()
    const needles = { 10: 'the Café at the corner', 5_000: 'no *café* here', 5_001: 'CAFE, again', 9_990: 'cafés' }
    const big = chatOf('big@localhost', 'Big', Array.from({ length: 10_000 }, (_, i) => [i % 3 === 0, needles[i] ?? `line ${i} of a long talk about nothing`, now - (10_000 - i) * 60_000]))
    await seed(page, { ...village(), chats: [big.chat] })
    for (let i = 0; i < big.messages.length; i += 5_000) await seed(page, { chats: [], messages: big.messages.slice(i, i + 5_000) })
    await page.goto(`${p.origin}/chat/big@localhost`)
    await bubble(p, 'line 9999').waitFor()
    await page.evaluate(() => {
      globalThis.longest = 0
      new PerformanceObserver((list) => list.getEntries().forEach((e) => (globalThis.longest = Math.max(globalThis.longest, e.duration)))).observe({ type: 'longtask' })
    })
    await page.keyboard.press('Control+f')
    const field = page.getByRole('textbox', { name: 'Search in this chat' })
    await field.fill('cafe')
    const at = (text) => page.locator('.find .count').getByText(text, { exact: true }).waitFor()
    const current = (text) => page.locator('.bubble.flash', { hasText: text }).waitFor()
    await at('1 of 4')
    await current('cafés')
    check((await page.evaluate(() => globalThis.longest)) < 300, `nothing waits long: ${await page.evaluate(() => globalThis.longest)} ms`)
    await field.press('Enter')
    await current('CAFE, again')
    await at('2 of 4')
    await until('words that stand out', () => page.evaluate(() => CSS.highlights.get('found')?.size === 2))
    check((await page.evaluate(() => [...CSS.highlights.get('found')].map(String).sort().join())) === 'CAFE,café', 'the words themselves')
    await field.press('ArrowUp')
    await current('no *café* here')
    await page.getByRole('button', { name: 'Older match' }).click()
    await current('the Café at the corner')
    await at('4 of 4')
    check(await page.getByRole('button', { name: 'Older match' }).isDisabled(), 'there is no other')
    await field.press('Shift+Enter')
    await current('no *café* here')
    await field.fill('corner the')
    await at('1 of 1')
    await field.fill('something else')
    await page.locator('.note').getByText('Nothing found').waitFor()
    await audit(page, 'search in a chat')
    await field.fill('line')
    await at('1 of 9996')
    await picture(page, 'find')
    await page.setViewportSize({ width: 390, height: 760 })
    await picture(page, 'find-narrow')
    await page.setViewportSize({ width: 1180, height: 760 })
    await field.fill('no cafe')
    await current('no *café* here')
    await page.keyboard.press('Escape')
    await field.waitFor({ state: 'detached' })
    await page.waitForFunction(() => document.activeElement?.textContent.includes('no *café* here'))
    // What was found stands on its own now.
    check((await page.evaluate(() => CSS.highlights.has('found'))) === false, 'nothing stands out any more')
  },

  async 'words that this device does not have are looked for further back'(world) {
    const [alice, bob] = await talk(world, 'the needle is here')
    await burst(alice.page, 150)
    await bubble(bob, 'message 149').waitFor()
    const account = await alice.newPassword()
    const tablet = await world.person('Alice')
    const page = await tablet.logIn(account)
    await tablet.open('Bob')
    await bubble(tablet, 'message 149').waitFor()
    await page.locator('main header .open').click()
    await page.getByRole('button', { name: 'Search in this chat' }).click()
    const field = page.getByRole('textbox', { name: 'Search in this chat' })
    await field.fill('needle')
    await page.locator('.note').getByText('Nothing found back to Today.').waitFor()
    await page.getByRole('button', { name: 'Look further back' }).click()
    await page.locator('.bubble.flash', { hasText: 'the needle is here' }).waitFor()
    await page.locator('.find .count').getByText('1 of 1', { exact: true }).waitFor()
    check(await field.evaluate((el) => el === document.activeElement), 'one goes on typing')
  },

  async 'several messages are selected, copied, starred, handed on and deleted'(world) {
    const [alice, bob, carl] = await world.friends('Alice', 'Bob', 'Carl')
    await alice.open('Bob')
    await bob.open('Alice')
    for (const line of ['one', 'two', 'three https://a.example/']) await alice.write(line)
    await bubble(bob, 'three').waitFor()
    await bob.write('four')
    await bubble(alice, 'four').waitFor()
    const { page } = alice
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    const bar = page.getByRole('toolbar')
    const picked = (text) => page.getByRole('checkbox', { name: `Select message: ${text}` })
    await choose(alice, 'one', 'Select')
    await bar.getByText('1 selected').waitFor()
    check(await picked('one').isChecked(), 'the one of the menu is selected')
    await page.waitForFunction(() => document.activeElement?.classList.contains('bubble'))
    check((await page.getByRole('textbox', { name: /^Message / }).count()) === 0, 'one does not write meanwhile')
    // A click on a link does not lead away.
    await bubble(alice, 'three').locator('a').click()
    await bubble(alice, 'four').click()
    await bar.getByText('3 selected').waitFor()
    check(page.context().pages().length === 1, 'no link was followed')
    await picture(page, 'selecting')
    await audit(page, 'several selected')
    await page.setViewportSize({ width: 390, height: 760 })
    await picture(page, 'selecting-narrow')
    await audit(page, 'several selected, narrow')
    await page.setViewportSize({ width: 1180, height: 760 })
    await bar.getByRole('button', { name: 'Copy text' }).click()
    await bar.getByText('3 messages copied').waitFor()
    const copied = await page.evaluate(() => navigator.clipboard.readText())
    check(/^\[.+\] Alice: one\n\[.+\] Alice: three https:\/\/a.example\/\n\[.+\] Bob: four$/.test(copied), copied)

    // By keys alone: from message to message, in and out, and away.
    await bubble(alice, 'four').focus()
    await page.keyboard.press(' ')
    await bar.getByText('2 selected').waitFor()
    await page.keyboard.press('ArrowUp')
    await page.keyboard.press('ArrowUp')
    await page.keyboard.press('Enter')
    await bar.getByText('3 selected').waitFor()
    check(await picked('two').isChecked(), 'the second is selected')
    await picked('two').press(' ')
    await bar.getByText('2 selected').waitFor()

    await bar.getByRole('button', { name: 'Star' }).click()
    await bar.waitFor({ state: 'detached' })
    await until('both to be starred', async () => (await page.locator('.bubble .star').count()) === 2)

    await choose(alice, 'two', 'Select')
    await bubble(alice, 'three').click()
    await bar.getByRole('button', { name: 'Forward' }).click()
    await page.getByRole('dialog').getByText('Carl').click()
    await page.getByRole('dialog').getByRole('button', { name: 'Forward', exact: true }).click()
    await bar.waitFor({ state: 'detached' })
    await carl.open('Alice')
    await bubble(carl, 'three').waitFor()
    check((await shown(carl.page)).join() === 'two,three https://a.example/', 'both arrived, in order')

    await choose(alice, 'two', 'Select')
    await bubble(alice, 'four').click()
    await bubble(alice, 'one').click()
    await bar.getByRole('button', { name: 'Delete for everyone' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('Only 2 of these 3 can be deleted for everyone; the others stay.').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    await bar.getByText('3 selected').waitFor()
    await bar.getByRole('button', { name: 'Delete for everyone' }).click()
    await dialog.getByRole('button', { name: 'Delete for everyone' }).click()
    await bar.waitFor({ state: 'detached' })
    await until('two to be gone', async () => (await shown(bob.page)).join() === 'This message was deleted,This message was deleted,three https://a.example/,> four')

    await choose(alice, 'four', 'Select')
    await bar.getByRole('button', { name: 'Delete for everyone' }).click()
    await dialog.getByText('None of these can be deleted for everyone').waitFor()
    await dialog.getByRole('button', { name: 'Close' }).click()
    await page.keyboard.press('Escape')
    await bar.waitFor({ state: 'detached' })
    await page.getByRole('textbox', { name: /^Message / }).waitFor()
    check(page.url().includes('/chat/'), 'the chat is still open')
  },

  async 'links of a chat are listed, and lead to where they were sent'(world) {
    const [alice, bob] = await talk(world, 'look: https://a.example/one?x=1 and https://b.example.', 'no link')
    await burst(alice.page, 60)
    await bubble(bob, 'message 59').waitFor()
    await bob.write('https://c.example/a/rather/long/way/to/what/somebody/wants/to/show/to/somebody/else')
    await bubble(alice, 'c.example').waitFor()
    const { page } = bob
    await page.locator('main header .open').click()
    await page.getByRole('button', { name: 'Photos, files and links' }).click()
    const panel = page.getByRole('complementary', { name: 'Photos, files and links' })
    await panel.getByRole('button', { name: 'Links' }).click()
    const hrefs = () => panel.locator('.file a').evaluateAll((all) => all.map((a) => a.href))
    await until('all links', async () => (await hrefs()).length === 3)
    check((await hrefs()).slice(1).join() === 'https://a.example/one?x=1,https://b.example/', 'the newest comes first')
    await audit(page, 'links of a chat')
    await picture(page, 'links')
    await page.emulateMedia({ colorScheme: 'dark' })
    await audit(page, 'links of a chat, dark')
    await page.emulateMedia({ colorScheme: 'light' })
    await alice.write('this one goes away again soon, all too soon: http://d.example')
    await until('a new one', async () => (await hrefs())[0] === 'http://d.example/')
    await choose(alice, 'goes away', 'Delete for everyone')
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await until('that it is gone', async () => (await hrefs()).length === 3)
    await panel.getByRole('button', { name: /^Alice, / }).click()
    await panel.waitFor({ state: 'detached' })
    await page.locator('.bubble.flash', { hasText: 'look: ' }).waitFor()
  },

  async 'in a room open to all those who are there are named, and see it'(world) {
    const [carla, dan, eve] = await world.friends('Carla', 'Dan', 'Eve')
    const account = await carla.newPassword()
    await crowd(carla.page, account, { room: 'plaza@rooms.localhost', name: 'Plaza', guest: 'dan@localhost', open: true })
    await carla.page.evaluate(() => globalThis.crier.invite('eve@localhost'))
    await dan.open('Plaza')
    await eve.page.locator('nav a', { hasText: 'Plaza' }).waitFor()
    await dan.page.locator('main header', { hasText: '3 people here' }).waitFor()
    const area = dan.page.getByRole('textbox', { name: /^Message / })
    await area.pressSequentially('Ask @')
    const offered = () => dan.page.getByRole('option').locator('bdi').allInnerTexts()
    await until('all but oneself', async () => (await offered()).sort().join() === 'Crier,Eve')
    await area.pressSequentially('ev')
    await until('one', async () => (await offered()).length === 1)
    await picture(dan.page, 'occupants')
    await audit(dan.page, 'people of a room to be named')
    await area.press('Enter')
    await dan.page.keyboard.type('please')
    await dan.page.keyboard.press('Enter')
    await eve.page.locator('nav a', { hasText: 'Plaza' }).getByLabel('You were mentioned').waitFor()
    await eve.open('Plaza')
    await bubble(eve, 'Ask').locator('b', { hasText: '@Eve' }).waitFor()
    await area.pressSequentially('@nobody')
    await until('nobody to be called that', async () => (await offered()).length === 0)
  },
}
