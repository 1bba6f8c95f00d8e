// SPDX-License-Identifier: Apache-2.0

// The machine is lost, and what comes back is the server of some time ago. People keep what they
// have on their devices, and go on.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { check, shown, until } from './harness.mjs'

const conversation = (person, expected) =>
  until(`${person.name} to see ${expected}`, async () => (await shown(person.page)).join('|').replaceAll('> ', '') === expected)

export default {
  async 'a server that was restored from a backup: nobody loses what is on their device, and all goes on'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    const store = mkdtempSync(join(tmpdir(), 'bavard-e2e-store-'))
    try {
      await alice.open('Bob')
      await bob.open('Alice')
      const ticked = (person, text) => person.page.locator('.bubble', { hasText: text }).getByLabel(/Sent|Delivered|Read/).waitFor()
      await alice.write('before')
      await conversation(bob, 'before')
      world.server.backup(store)
      // What the restored server knows nothing of.
      await bob.write('after')
      await ticked(bob, 'after')
      await conversation(alice, 'before|after')
      await world.server.kill()
      await alice.write('meanwhile')
      await world.server.restore(store)
      await conversation(bob, 'before|after|meanwhile')
      await bob.write('answer')
      await conversation(alice, 'before|after|meanwhile|answer')
      await Promise.all([ticked(alice, 'meanwhile'), ticked(bob, 'answer')])
      // It stays so when the app begins anew, and in a session that is new.
      for (const p of [alice, bob]) {
        await p.page.reload()
        await conversation(p, 'before|after|meanwhile|answer')
      }
      await world.server.stop()
      await world.server.start()
      await bob.write('last')
      await conversation(alice, 'before|after|meanwhile|answer|last')
      await conversation(bob, 'before|after|meanwhile|answer|last')
      // A device that comes now has what the server has.
      const again = await world.person('Alice')
      await again.logIn(await alice.newPassword())
      await again.open('Bob')
      await conversation(again, 'before|meanwhile|answer|last')
      check((await again.page.locator('.bubble').count()) === 4, 'nothing stands there twice')
    } finally {
      rmSync(store, { recursive: true, force: true })
    }
  },
}
