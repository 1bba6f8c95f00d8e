// SPDX-License-Identifier: Apache-2.0

// Puts conversations into the app's store, as if they had come: for pictures
// and for measuring. The layout is that of src/store/schema.ts.

/** Runs in the page. */
async function put({ account, chats, messages, drafts }) {
  const open = indexedDB.open('bavard')
  const db = await new Promise((resolve, reject) => {
    open.onsuccess = () => resolve(open.result)
    open.onerror = () => reject(open.error)
    open.onupgradeneeded = () => reject(new Error('open the app first'))
  })
  const tx = db.transaction(['meta', 'chats', 'messages', 'drafts'], 'readwrite')
  if (account) tx.objectStore('meta').put(account, 'account')
  for (const c of chats) tx.objectStore('chats').put(c)
  for (const m of messages) tx.objectStore('messages').add(m)
  for (const d of drafts ?? []) tx.objectStore('drafts').put(d)
  await new Promise((resolve, reject) => {
    tx.oncomplete = resolve
    tx.onerror = () => reject(tx.error)
  })
  db.close()
}

/** The account is one that no server knows: from then on the app of this browser finds one that takes the connection and says nothing. */
export async function seed(page, data) {
  if (data.account) await page.context().routeWebSocket(/xmpp-websocket/, () => undefined)
  await page.evaluate(put, data)
}

const MINUTE = 60_000

export function chatOf(peer, name, lines, more = {}) {
  const messages = lines.map(([out, body, time, tick = 3], i) => ({
    peer,
    pos: i + 1,
    out,
    body,
    time,
    tick: out ? tick : 1,
    id: `${peer}-${i}`,
    archiveId: `${peer}-a${i}`,
    names: [`${peer} ${peer}-${i}`],
    rev: 1,
    ...(tick === -1 && { error: { condition: 'service-unavailable', text: '' } }),
  }))
  const last = messages.at(-1)
  const chat = {
    peer,
    name,
    contact: true,
    subscription: 'both',
    wanted: false,
    asks: false,
    head: 0,
    tail: messages.length,
    composed: 0,
    complete: true,
    unread: 0,
    readPos: messages.length,
    lastIn: undefined,
    marked: undefined,
    peerGot: 0,
    peerRead: 0,
    last: last && { key: 0, pos: last.pos, out: last.out, tick: last.tick, body: last.body.slice(0, 200) },
    time: last?.time ?? 0,
    rev: 1,
    ...more,
  }
  return { chat, messages }
}

/** A life's worth of small talk. */
export function village(now = Date.now()) {
  const at = (minutes) => now - minutes * MINUTE
  const day = 24 * 60
  const long = 'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft'
  const all = [
    chatOf('anna@localhost', 'Anna Keller', [
      [false, 'Did you see the heron by the bridge this morning?', at(2 * day + 50)],
      [true, 'No! Was it the big one again?', at(2 * day + 48)],
      [false, 'The very one. It stood there as if it owned the place.', at(2 * day + 47)],
      [false, 'I took a picture but it is mostly bridge.', at(2 * day + 47)],
      [true, 'Send it anyway 😄', at(2 * day + 45)],
      [false, 'Are we still on for Saturday?', at(day + 200)],
      [true, 'Yes. Ten at the market, then lunch at mine?', at(day + 190)],
      [false, 'Perfect', at(day + 188)],
      [false, '🎉', at(day + 188)],
      [true, 'I found the recipe: https://example.org/recipes/leek-and-potato-tart?serves=4. It wants cream, which we have, and nutmeg, which we do not.', at(64)],
      [true, 'Could you bring some?', at(63)],
      [false, 'Nutmeg, check. What about bread?', at(22)],
      [true, 'I will bake tonight if the starter is in the mood.', at(20)],
      [false, 'Tell it I said hello.', at(3)],
      [true, 'It bubbled. I take that as a yes.', at(2), 3],
      [true, 'See you at ten!', at(1), 2],
    ]),
    chatOf('zoe.muller@localhost', 'Zoë Müller', [[false, 'The train is late again, start without me', at(9)]], { unread: 3, readPos: 0 }),
    chatOf('bertrand@localhost', 'Bertrand de la Tour-Maubourg-Saint-Hilaire the Younger', [[true, 'That name does not fit on any form I know.', at(45), 2]]),
    chatOf('choir@localhost', 'Maya (choir)', [[false, 'Tuesday instead of Thursday, same place. Please tell the tenors, they never read anything.', at(3 * 60)]], { unread: 128, readPos: 0 }),
    chatOf('long@localhost', long, [[false, `${long} ${long}`, at(5 * 60)], [true, 'https://example.org/' + 'a-very-long-path-without-any-break'.repeat(6), at(5 * 60 - 1), 1]]),
    chatOf('omar@localhost', 'عمر الخطيب', [[false, 'مرحبا! كيف حالك اليوم؟', at(day + 30)], [true, 'بخير، شكراً 🙂 see you tomorrow', at(day + 29), 3]]),
    chatOf('ines@localhost', 'Inés', [[true, 'Sent from the mountain hut, let us see when it arrives', at(2 * day), 0]]),
    chatOf('nobody@localhost', 'Old neighbour', [[true, 'Are you still at this address?', at(4 * day), -1]]),
    chatOf('li@localhost', '李小龙', [[false, '周末一起吃饭吗？', at(5 * day)]]),
    chatOf('tom@localhost', 'Tom', [[false, 'ok', at(9 * day)]]),
    chatOf('ravi@localhost', 'Ravi Shah', [[true, '👍', at(20 * day), 3]]),
    chatOf('new@localhost', 'Grace', []),
    chatOf('hikers@rooms.localhost', 'Hikers', [[true, 'Who has the map?', at(3 * day)], [false, 'It is in the red bag', at(3 * day - 5)]], {
      contact: false,
      subscription: 'none',
      group: {
        description: 'Every second Sunday',
        nick: 'Jo Baker',
        occupant: 'o1',
        role: 'owner',
        members: [
          { jid: 'me@localhost', nick: 'Jo Baker', role: 'owner' },
          { jid: 'anna@localhost', nick: 'Anna', role: 'admin' },
          { jid: 'tom@localhost', nick: 'Tom', role: 'member' },
        ],
        announcements: false,
        invites: true,
        state: 'in',
        by: '',
        lastId: 'x',
        mentioned: true,
        read: {},
      },
    }),
    chatOf('asks@localhost', 'Hugo', [], { contact: false, subscription: 'none', asks: true, time: at(100) }),
  ]
  return {
    account: { jid: 'me@localhost', password: 'x', name: 'Jo Baker', resource: 'seed', bornHere: true, created: now },
    chats: all.map((a) => a.chat),
    messages: all.flatMap((a) => a.messages),
    drafts: [{ peer: 'ravi@localhost', text: 'What I meant to say is' }],
  }
}
