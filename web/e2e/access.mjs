// SPDX-License-Identifier: Apache-2.0

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { check, picture, shown, until, web } from './harness.mjs'
import { seed, village } from './seed.mjs'

const axe = readFileSync(join(web, 'node_modules/axe-core/axe.min.js'), 'utf8')

/** Those of its rules that a screen's colours can change. */
const COLOURS = ['color-contrast', 'link-in-text-block']

/** Has axe look at a page. What changes while it looks (a button that is disabled then) can seem wrong once, but not three times. */
export async function audit(page, where, rules) {
  for (let look = 1; ; look++) {
    const violations = await findings(page, rules)
    const grave = violations.filter((v) => ['serious', 'critical'].includes(v.impact))
    if (grave.length === 0) return violations.length
    const words = grave.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')}`)
    check(look < 3, `${where}:\n${words.join('\n')}`)
  }
}

async function findings(page, rules) {
  await page.waitForFunction(() => {
    // A row is hidden until it was measured, and what still moves has not its colours yet.
    const shown = [...document.querySelectorAll('nav a')].every((a) => getComputedStyle(a).visibility === 'visible')
    const moves = (a) => a.playState === 'running' && a.effect?.getComputedTiming().endTime !== Infinity
    return shown && document.fonts.status === 'loaded' && !document.getAnimations().some(moves)
  })
  // The page's own policy forbids foreign scripts, as it should; the debugger may.
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe)
  const { violations } = await page.evaluate((rules) => globalThis.axe.run({ resultTypes: ['violations'], ...(rules && { runOnly: rules }) }), rules)
  return violations
}

const WIDE = { width: 1180, height: 760 }
const NARROW = { width: 390, height: 760 }

/** The same screen wide and narrow, light and dark: all of it in the light, its colours in the dark. */
async function everyWay(page, where) {
  let minor = 0
  for (const viewport of [WIDE, NARROW]) {
    await page.setViewportSize(viewport)
    await page.waitForFunction((width) => innerWidth === width, viewport.width)
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme })
      minor += await audit(page, `${where}, ${colorScheme}, ${viewport.width} px`, colorScheme === 'dark' ? COLOURS : undefined)
    }
  }
  await page.setViewportSize(WIDE)
  await page.emulateMedia({ colorScheme: 'light' })
  return minor
}

/** What is opened over a screen, or beside it. */
async function opened(page, origin, where) {
  let minor = 0
  const see = async (what) => (minor += await audit(page, `${what}, ${where}`))
  await page.goto(`${origin}/chat/anna@localhost`)
  await page.locator('.bubble', { hasText: 'See you at ten' }).click({ button: 'right' })
  await page.getByRole('dialog').waitFor()
  await see('menu of a message')
  await page.getByRole('dialog').getByRole('button', { name: 'Forward' }).click()
  await page.getByRole('heading', { name: 'Forward to' }).waitFor()
  await see('forwarding')
  await page.keyboard.press('Escape')
  await page.locator('main header .open').click()
  await page.getByRole('complementary', { name: 'Contact info' }).waitFor()
  await see('contact info')
  await page.getByRole('button', { name: 'Photos, files and links' }).click()
  await page.getByText('Nothing was shared here yet.').waitFor()
  await see('what was shared')
  await page.goto(`${origin}/chat/hikers@rooms.localhost`)
  await page.locator('main header .open').click()
  await page.getByText('Only admins write').waitFor()
  await see('group and its info')
  return minor
}

export default {
  async 'axe finds nothing serious, on any screen, light and dark, wide and narrow'(world) {
    const { origin } = world.server
    let minor = 0
    const [invite] = world.server.invites(1)
    const p = await world.person('Jo', { reducedMotion: 'reduce' })
    const page = (p.page = await p.tab('/'))
    await page.getByLabel('Password').waitFor()
    minor += await everyWay(page, 'login')
    await page.goto(origin + invite)
    await page.getByLabel('Your name').waitFor()
    minor += await everyWay(page, 'invite')
    await seed(page, village())
    await page.goto(origin + '/')
    await page.locator('nav a').first().waitFor()
    await page.getByRole('status').filter({ hasText: 'Connecting' }).waitFor()
    minor += await everyWay(page, 'list and strip')
    for (const peer of ['anna', 'nobody', 'asks', 'new', 'zoe.muller']) {
      await page.goto(`${origin}/chat/${peer}@localhost`)
      await page.getByRole('textbox', { name: /^Message / }).waitFor()
      await page.locator('[role=log].placed').waitFor()
      minor += await everyWay(page, `chat with ${peer}`)
    }
    for (const screen of ['new', 'me', 'group', 'starred']) {
      await page.goto(`${origin}/?${screen}`)
      await page.getByRole('button', { name: 'Back' }).first().waitFor()
      minor += await everyWay(page, screen)
    }
    // What opens over a screen once in each width and each light.
    minor += await opened(page, origin, 'light, wide')
    await page.setViewportSize(NARROW)
    await page.emulateMedia({ colorScheme: 'dark' })
    minor += await opened(page, origin, 'dark, narrow')
    await p.close()
    console.log(`      axe: 0 serious or critical, ${minor} minor findings on all screens together`)
  },

  async 'it speaks four languages, from the left and from the right'(world) {
    for (const [locale, dir, title, search, typed] of [
      ['fr-FR', 'ltr', 'Nouvelle discussion', 'Rechercher', 'Écrire à Anna Keller'],
      ['es-MX', 'ltr', 'Nuevo chat', 'Buscar', 'Escribir a Anna Keller'],
      ['ar', 'rtl', 'محادثة جديدة', 'بحث', 'رسالة إلى Anna Keller'],
    ]) {
      const p = await world.person('Jo', { locale, reducedMotion: 'reduce' })
      const page = (p.page = await p.tab('/'))
      await page.locator('input[type=password]').waitFor()
      await seed(page, village())
      await page.goto(world.server.origin + '/chat/anna@localhost')
      await page.getByRole('textbox', { name: typed }).waitFor()
      await page.getByRole('link', { name: title }).first().waitFor()
      await page.getByPlaceholder(search).waitFor()
      check((await page.evaluate(() => document.documentElement.dir)) === dir, `${locale} is written ${dir}`)
      check((await page.evaluate(() => document.documentElement.lang)) === locale.slice(0, 2), `the page says that it is ${locale}`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
      check(!wide, 'nothing sticks out')
      await audit(page, locale)
      await picture(page, `language-${locale.slice(0, 2)}`)
      await page.goto(world.server.origin + '/?me')
      await page.locator('select').first().waitFor()
      await audit(page, `${locale}, profile`)
      await page.locator('select').first().selectOption('en')
      await page.getByText('Edit profile').waitFor()
      await page.locator('select').nth(1).selectOption('dark')
      await until('it to be dark', () => page.evaluate(() => getComputedStyle(document.body).color === 'rgb(243, 236, 229)'))
      await p.close()
    }
  },

  async 'what cannot be undone is asked for by keyboard, and without findings, from both sides, in both lights, wide and narrow'(world) {
    for (const [locale, viewport, colorScheme, words] of [
      ['en-GB', NARROW, 'light', { me: ['Privacy', 'Delete account'], chat: ['Export chat', 'Block and report', 'Delete chat'] }],
      ['ar', WIDE, 'dark', { me: ['الخصوصية', 'حذف الحساب'], chat: ['تصدير المحادثة', 'حظر وإبلاغ', 'حذف المحادثة'] }],
      ['ar', NARROW, 'light', { me: ['الخصوصية', 'حذف الحساب'], chat: ['تصدير المحادثة', 'حظر وإبلاغ', 'حذف المحادثة'] }],
    ]) {
      const p = await world.person('Jo', { locale, viewport, colorScheme, reducedMotion: 'reduce' })
      const page = (p.page = await p.tab('/'))
      await page.locator('input[type=password]').waitFor()
      await seed(page, village())
      const ask = async (name) => {
        const button = page.getByRole('button', { name, exact: true })
        await button.focus()
        await page.keyboard.press('Enter')
        const dialog = page.getByRole('dialog')
        await dialog.waitFor()
        check(await dialog.evaluate((d) => d.contains(document.activeElement)), `${name}: the keyboard is in it`)
        await audit(page, `${name}, ${viewport.width} px, ${colorScheme}`)
        await picture(page, `ask-${locale.slice(0, 2)}-${viewport.width}-${name.replaceAll(' ', '-')}`)
        check(!(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)), `${name}: something sticks out`)
        await page.keyboard.press('Escape')
        await dialog.waitFor({ state: 'detached' })
        check(await button.evaluate((b) => b === document.activeElement), `${name}: the keyboard is where it was`)
      }
      await page.goto(world.server.origin + '/?me')
      for (const name of words.me) await ask(name)
      for (const peer of ['anna@localhost', 'hikers@rooms.localhost']) {
        await page.goto(`${world.server.origin}/chat/${peer}`)
        await page.locator('main header .open').click()
        for (const name of words.chat) await ask(name)
      }
      await p.close()
    }
  },

  async 'everything can be done with the keyboard'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    const { page } = alice
    const focus = async (name, most = 12) => {
      for (let i = 0; i < most; i++) {
        await page.keyboard.press('Tab')
        const label = await page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? '')
        if (label.includes(name)) return
      }
      throw new Error(`Tab does not reach ${name}`)
    }
    await page.evaluate(() => document.activeElement?.blur())
    await focus('Bob')
    await page.keyboard.press('Enter')
    await page.getByRole('textbox', { name: 'Message Bob' }).waitFor()
    await page.waitForFunction(() => document.activeElement?.tagName === 'TEXTAREA')
    await page.keyboard.type('by hand')
    await page.keyboard.press('Shift+Enter')
    await page.keyboard.type('second line')
    await page.keyboard.press('Enter')
    await until('both lines in one message', async () => (await shown(page)).join('|') === '> by hand\nsecond line')
    await page.keyboard.press('Escape')
    await page.getByText('Pick a chat').waitFor()
    void bob
  },
}
