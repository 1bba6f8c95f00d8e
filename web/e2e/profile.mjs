// SPDX-License-Identifier: Apache-2.0

// Names, pictures, blocking, and finding things again.

import { join } from 'node:path'
import { check, stored, until, web } from './harness.mjs'

const bubble = (p, text) => p.page.locator('[role=log] .bubble', { hasText: text }).last()
const icon = join(web, 'public/icon-180.png')

export default {
  async 'a picture and a name are seen by others, also after a reload'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    await anna.page.getByRole('link', { name: 'You', exact: true }).click()
    await anna.page.getByLabel('Change picture').setInputFiles(icon)
    await anna.page.locator('aside .picture img').waitFor()
    await bob.page.locator('nav a', { hasText: 'Anna' }).locator('img').waitFor()
    await anna.page.getByRole('button', { name: 'Edit profile' }).click()
    await anna.page.getByLabel('About you').fill('Singing')
    await anna.page.getByRole('button', { name: 'Save' }).click()
    await anna.page.locator('aside').getByText('Singing').waitFor()
    await bob.page.reload()
    await bob.page.locator('nav a', { hasText: 'Anna' }).locator('img').waitFor()
    await bob.open('Anna')
    await bob.page.locator('main header').getByRole('button', { name: /Contact info/ }).click()
    await bob.page.getByText('Singing').waitFor()
    await anna.page.getByRole('button', { name: 'Remove picture' }).click()
    await bob.page.locator('nav a img').waitFor({ state: 'detached' })
  },

  async 'who is blocked is not heard, until they are again'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    await bob.open('Anna')
    await anna.open('Bob')
    await bob.page.locator('main header').getByRole('button', { name: /Contact info/ }).click()
    await bob.page.getByRole('button', { name: 'Block Anna' }).click()
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Block', exact: true }).click()
    await bob.page.locator('.mute').getByText('You have blocked Anna.').waitFor()
    await bob.page.getByRole('button', { name: 'Close' }).click()
    await anna.write('Do you hear me?')
    await anna.page.getByText(/nobody with this address|do not take messages/).waitFor()
    check((await stored(bob.page)).length === 0, 'nothing came')
    await bob.page.locator('.mute').getByRole('button', { name: 'Unblock Anna' }).click()
    await bob.page.getByRole('textbox', { name: 'Message Anna' }).waitFor()
    await anna.write('And now?')
    await bubble(bob, 'And now?').waitFor()
  },

  async 'what was said is found again'(world) {
    const [anna, bob] = await world.friends('Anna', 'Bob')
    await anna.open('Bob')
    for (const text of ['The café is closed', 'Bring the blue folder', 'nothing']) await anna.write(text)
    await bob.page.locator('nav a', { hasText: 'nothing' }).waitFor()
    await bob.page.getByRole('searchbox').fill('cafe closed')
    await bob.page.locator('nav').getByText('The café is closed').click()
    await bob.page.locator('.bubble.flash', { hasText: 'café' }).waitFor()
    await bob.page.getByRole('searchbox').fill('xyz')
    await bob.page.getByText('Nothing found').waitFor()
  },
}
