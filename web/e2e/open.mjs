// SPDX-License-Identifier: Apache-2.0

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { check, Server } from './harness.mjs'

/** A server that is open to everybody, within its limits. */
async function open(world, work) {
  const dir = mkdtempSync(join(tmpdir(), 'bavard-e2e-open-'))
  const file = join(dir, 'bavard.toml')
  writeFileSync(file, '[registration]\nopen = true\naddress_hourly = 2\nhourly = 2\n')
  const server = await Server.start('--config', file)
  world.origin = server.origin
  try {
    await work()
  } finally {
    world.origin = undefined
    for (const p of world.people.splice(0)) await p.close()
    await server.close()
    rmSync(dir, { recursive: true })
  }
}

export default {
  async 'where anybody may make an account, a name is all that is needed, until there are too many'(world) {
    await open(world, async () => {
      for (const name of ['Zoë', 'Jo']) {
        const p = await world.person(name)
        const page = await p.tab('/')
        await page.getByRole('button', { name: 'Make an account' }).click()
        await page.getByText('Everybody is welcome here').waitFor()
        check(page.url().endsWith('/?join'), `the address is ${page.url()}`)
        await page.goBack()
        await page.getByLabel('Password').waitFor()
        await page.goForward()
        await page.getByLabel('Your name').fill(name)
        await page.getByRole('button', { name: 'Start chatting' }).click()
        await page.getByRole('heading', { name: 'bavard', exact: true }).waitFor()
        await page.goto(p.origin + '/?me')
        await page.getByText(`${name === 'Jo' ? 'jo' : 'zoe'}@localhost`).first().waitFor()
        world.noErrors()
      }
      const page = await (await world.person('Third')).tab('/?join')
      await page.getByLabel('Your name').fill('Third')
      await page.getByRole('button', { name: 'Start chatting' }).click()
      await page.getByText('Too many accounts have been made here; try again in 30 minutes.').waitFor()
    })
  },

  async 'where nobody may, nothing of it is offered'(world) {
    const page = await (await world.person('Stranger')).tab('/?join')
    await page.getByText('Open the invite link').waitFor()
    check((await page.getByRole('button', { name: 'Make an account' }).count()) === 0, 'it is offered')
  },
}
