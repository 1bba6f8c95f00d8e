// SPDX-License-Identifier: Apache-2.0

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { check, shown, until, web } from './harness.mjs'
import { seed, village } from './seed.mjs'

const axe = readFileSync(join(web, 'node_modules/axe-core/axe.min.js'), 'utf8')

async function audit(page, where) {
  // The page's own policy forbids foreign scripts, as it should; the debugger may.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run())
  const grave = violations.filter((v) => ['serious', 'critical'].includes(v.impact))
  const words = grave.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')}`)
  check(grave.length === 0, `${where}:\n${words.join('\n')}`)
  return violations.length
}

export default {
  async 'axe finds nothing serious, on any screen, light and dark, wide and narrow'(world) {
    let minor = 0
    const [invite] = world.server.invites(1)
    for (const colorScheme of ['light', 'dark']) {
      for (const viewport of [{ width: 1180, height: 760 }, { width: 390, height: 760 }]) {
        const where = (what) => `${what}, ${colorScheme}, ${viewport.width} px`
        const p = await world.person('Jo', { colorScheme, viewport, reducedMotion: 'reduce' })
        const page = (p.page = await p.tab('/'))
        await page.getByLabel('Password').waitFor()
        minor += await audit(page, where('login'))
        await page.goto(world.server.origin + invite)
        await page.getByLabel('Your name').waitFor()
        minor += await audit(page, where('invite'))
        await seed(page, village())
        await page.goto(world.server.origin + '/')
        await page.locator('nav a').first().waitFor()
        await page.getByRole('status').filter({ hasText: 'password' }).waitFor()
        minor += await audit(page, where('list and strip'))
        for (const peer of ['anna', 'nobody', 'asks', 'new', 'zoe.muller']) {
          await page.goto(`${world.server.origin}/chat/${peer}@localhost`)
          await page.getByRole('textbox', { name: /^Message / }).waitFor()
          await page.waitForTimeout(150)
          minor += await audit(page, where(`chat with ${peer}`))
        }
        for (const screen of ['new', 'me']) {
          await page.goto(`${world.server.origin}/?${screen}`)
          await page.locator('output').first().waitFor()
          minor += await audit(page, where(screen))
        }
        await p.close()
      }
    }
    console.log(`      axe: 0 serious or critical, ${minor} minor findings on all screens together`)
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
