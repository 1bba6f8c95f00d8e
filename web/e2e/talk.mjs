// SPDX-License-Identifier: Apache-2.0

// What is said, and finding and handling it: styling, search in a chat, several messages at once, links, who is mentioned.

import { audit } from './access.mjs'
import { check, picture, shown, until } from './harness.mjs'

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
}
