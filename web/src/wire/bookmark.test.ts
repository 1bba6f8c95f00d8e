// SPDX-License-Identifier: Apache-2.0

import { afterAll, beforeAll, expect, it } from 'vitest'
import { muteGroup, readMuted } from './inbox'
import { Link } from './link'
import { NS } from './ns'
import { bookmarkOf, fetchBookmarks, saveBookmark } from './pep'
import { dialFromNode, RealServer } from './server.testing'
import type { Session } from './session'

// Against the real server.

let server: RealServer
let link: Link
let session: Session

beforeAll(async () => {
  server = await new RealServer().ready()
  server.user('anna', 'a long password')
  session = await new Promise((done) => {
    link = new Link({
      account: 'anna@localhost',
      credentials: () => Promise.resolve({ jid: 'anna@localhost', secret: { kind: 'password', secret: 'a long password' }, device: { id: crypto.randomUUID(), software: 'test', device: 'Node' } }),
      keep: () => Promise.resolve(),
      resource: 'test',
      addresses: () => [server.address],
      dial: dialFromNode,
      online: () => true,
      watched: () => true,
      state: () => undefined,
      session: done,
      stanzas: () => Promise.resolve(),
      refused: () => undefined,
      acked: () => undefined,
    })
    link.start()
  })
}, 60_000)

afterAll(async () => {
  link.stop()
  await server.close()
})

it('a group that is joined again is as muted as it was', async () => {
  const room = 'choir@rooms.localhost'
  const muted = async () => readMuted((await bookmarkOf(session, room))?.child('extensions')?.child('notify', NS.notify))
  await saveBookmark(session, { room, name: 'Choir', nick: 'Anna' })
  expect(await muted()).toBeUndefined()
  await muteGroup(session, room, { until: undefined })
  expect(await muted()).toEqual({ until: undefined })
  await saveBookmark(session, { room, name: '', nick: 'Anna 2' })
  expect(await muted()).toEqual({ until: undefined })
  expect(await fetchBookmarks(session)).toEqual([{ room, name: 'Choir', nick: 'Anna 2', autojoin: true }])
})
