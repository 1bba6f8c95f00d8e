// SPDX-License-Identifier: Apache-2.0

import { audit } from './access.mjs'
import { check, inStore, PATIENCE, shown, until } from './harness.mjs'

/**
 * Freezes a tab, as browsers do with those nobody looks at: never in the midst of a transaction, where only one that hangs
 * stands still. Gives how to wake it. Nothing but cookies is told to a page that does not listen.
 */
async function freeze(page, midst = false) {
  const [context, morning] = [page.context(), `morning${Math.random()}`]
  const asleep = inStore(
    page,
    async (db, result, [most, morning, midst]) => {
      const last = db.transaction([...db.objectStoreNames], 'readwrite')
      if (midst) await result(last.objectStore('meta').count())
      else {
        await new Promise((done) => {
          last.oncomplete = done
          last.commit()
        })
      }
      db.close()
      document.cookie = `${morning}=0; path=/`
      for (const end = Date.now() + most; Date.now() < end && !document.cookie.includes(`${morning}=1`); );
    },
    [PATIENCE, morning, midst],
  )
  asleep.catch(() => undefined)
  await until('the tab to be asleep', async () => (await context.cookies()).some((c) => c.name === morning))
  return async (other) => {
    check((await Promise.race([asleep.then(() => 'awake'), 'asleep'])) === 'asleep', 'it still sleeps')
    await other.evaluate((morning) => (document.cookie = `${morning}=1; path=/`), morning)
    await asleep
  }
}

export default {
  async 'tabs share one connection; when the leading one goes, another takes over'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    let sockets = 0
    const second = await alice.tab('')
    second.on('websocket', () => sockets++)
    await second.goto(world.server.origin + '/')
    await alice.open('Bob', second)
    await alice.write('from the second tab', second)
    await second.getByLabel('Delivered').or(second.getByLabel('Read')).first().waitFor()
    check(sockets === 0, 'the second tab has no connection of its own')
    await alice.open('Bob')
    await until('the first tab', async () => (await shown(alice.page)).join('|') === '> from the second tab')
    await bob.page.getByRole('textbox').last().pressSequentially('x')
    await second.locator('main header', { hasText: 'typing…' }).waitFor()
    await second.getByRole('textbox').last().pressSequentially('y')
    await bob.page.locator('main header', { hasText: 'typing…' }).waitFor()

    await alice.page.close()
    await alice.write('after the first is gone', second)
    await bob.page.locator('.bubble', { hasText: 'after the first is gone' }).waitFor()
    await bob.write('seen')
    await until('the answer', async () => (await shown(second)).at(-1) === 'seen')
    check(sockets >= 1, 'the second tab connected')
    alice.page = second
  },

  async 'a leading tab that the browser froze is overtaken by the one that is looked at, whether the person reads or writes'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    const second = await alice.tab('/')
    await alice.open('Bob', second)
    let wake = await freeze(alice.page)
    await bob.write('are you there?')
    await until('it on the tab that is looked at', async () => (await shown(second)).join() === 'are you there?')
    await wake(second)
    await alice.open('Bob')
    await until('it on the tab that slept', async () => (await shown(alice.page)).join() === 'are you there?')

    wake = await freeze(second)
    await alice.write('while the other sleeps')
    await bob.page.locator('.bubble', { hasText: 'while the other sleeps' }).waitFor()
    await wake(alice.page)
    await alice.write('awake again', second)
    await until('all', async () => (await shown(bob.page)).join('|') === '> are you there?|while the other sleeps|awake again')
    await until('no strip on the overtaken tab', async () => (await second.getByRole('status').allInnerTexts()).join('').trim() === '')
  },

  async 'a tab that hangs in the midst of a transaction holds the others up, which say so and go on when it is over'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    const second = await alice.tab('/')
    await alice.open('Bob', second)
    const wake = await freeze(alice.page, true)
    await alice.write('is anybody there?', second)
    const third = await alice.tab('/')
    const strip = second.getByRole('status').filter({ hasText: 'cannot keep anything right now' })
    await Promise.all([strip.waitFor(), third.getByText('Another tab of it does not respond').waitFor()])
    await audit(second, 'store held')
    check((await shown(second)).length === 0, 'it shows what is not kept')
    await wake(second)
    await bob.page.locator('.bubble', { hasText: 'is anybody there?' }).waitFor()
    await strip.waitFor({ state: 'hidden' })
    await third.locator('nav a', { hasText: 'is anybody there?' }).waitFor()
    check((await shown(bob.page)).join() === 'is anybody there?', 'once')
  },

  async 'a tab gives the store to a newer version of the app, and begins anew with what was being written'(world) {
    const [alice] = await world.friends('Alice', 'Bob')
    await alice.open('Bob')
    const newer = await alice.tab('/.well-known/bavard.json')
    const began = alice.page.waitForEvent('load')
    await alice.page.getByRole('textbox', { name: /^Message / }).fill('half a thought')
    // Its upgrade is given up, so that the older version can go on.
    const got = await newer.evaluate(
      () =>
        new Promise((done, failed) => {
          const open = indexedDB.open('bavard', 1_000)
          open.onupgradeneeded = () => {
            open.transaction.abort()
            done('the store')
          }
          open.onsuccess = failed
        }),
    )
    check(got === 'the store', 'it got it')
    await began
    await until('the draft', async () => (await alice.page.getByRole('textbox', { name: /^Message / }).inputValue()) === 'half a thought')
  },

  async 'what a tab had read that went before it told the others is known where it is looked at'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    await bob.write('read elsewhere')
    await until('it', async () => (await alice.page.title()).startsWith('(1)'))
    // Nobody is told of this.
    await inStore(alice.page, async (db, result) => {
      const chats = db.transaction('chats', 'readwrite').objectStore('chats')
      const chat = (await result(chats.getAll())).find((c) => c.unread > 0)
      await result(chats.put({ ...chat, unread: 0, readPos: chat.tail, marked: chat.lastIn.id, rev: chat.rev + 1 }))
    })
    await alice.open('Bob')
    await until('it to be read', async () => !(await alice.page.title()).startsWith('('))
  },

  async 'another program under the same name is told, and can be taken over from'(world) {
    const [alice] = await world.friends('Alice', 'Bob')
    const state = await alice.context.storageState({ indexedDB: true })
    const twin = await world.person('Twin', { storageState: state })
    twin.page = await twin.tab('/')
    await alice.page.getByRole('status').filter({ hasText: 'in use somewhere else' }).waitFor()
    await alice.page.getByRole('button', { name: 'Use here' }).click()
    await twin.page.getByRole('status').filter({ hasText: 'in use somewhere else' }).waitFor()
    await alice.page.getByRole('status').filter({ hasText: 'in use somewhere else' }).waitFor({ state: 'hidden' })
  },

  async 'two tabs write at the same time, and nothing is lost or doubled'(world) {
    const [alice, bob] = await world.friends('Alice', 'Bob')
    await bob.open('Alice')
    await alice.open('Bob')
    const second = await alice.tab('/')
    await alice.open('Bob', second)
    for (let i = 0; i < 10; i++) await Promise.all([alice.write(`p${i}`), alice.write(`q${i}`, second)])
    const wanted = Array.from({ length: 10 }, (_, i) => [`p${i}`, `q${i}`]).flat().sort().join()
    for (const page of [alice.page, second, bob.page]) {
      await until('all on each page', async () => (await shown(page)).map((s) => s.replace('> ', '')).sort().join() === wanted)
    }
  },
}
