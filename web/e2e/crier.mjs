// SPDX-License-Identifier: Apache-2.0

/**
 * Another device of somebody's, which has no app: it speaks XMPP over a WebSocket of its own, from a page of theirs, where it
 * is `crier`. It sends what it is given, and waits for what matches.
 */
export const crier = (page, { address, password }) =>
  page.evaluate(
    async ([address, password]) => {
      const [user, domain] = address.split('@')
      const socket = new WebSocket(location.origin.replace('http', 'ws') + '/xmpp-websocket', 'xmpp')
      const frames = []
      let woken = () => undefined
      const hear = (frame) => {
        frames.push(frame)
        woken()
      }
      socket.onmessage = (e) => hear(e.data)
      socket.onclose = () => hear('closed')
      const send = (frame) => socket.send(frame)
      const next = async (pattern) => {
        for (;;) {
          for (let f; (f = frames.shift()); ) {
            if (pattern.test(f)) return f
            if (f === 'closed') throw new Error(`closed before ${pattern}`)
          }
          await new Promise((done) => (woken = done))
        }
      }
      const open = async () => {
        send(`<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='${domain}' version='1.0'/>`)
        await next(/features/)
      }
      await new Promise((done) => (socket.onopen = done))
      await open()
      send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa(`\0${user}\0${password}`)}</auth>`)
      await next(/<success/)
      await open()
      send("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
      await next(/id=['"]b['"]/)
      send("<enable xmlns='urn:xmpp:sm:3'/>")
      await next(/<enabled/)
      globalThis.crier = { send, next, close: () => socket.close() }
    },
    [address, password],
  )

/** Says much to somebody at once. Settles once the server has acknowledged all of it. */
export async function cry(page, account, to, bodies) {
  await crier(page, account)
  await page.evaluate(
    async ([to, bodies]) => {
      const { send, next, close } = globalThis.crier
      for (const [i, body] of bodies.entries()) {
        send(`<message xmlns='jabber:client' to='${to}' type='chat' id='cry${i}'><body>${body}</body><origin-id xmlns='urn:xmpp:sid:0' id='cry${i}'/></message>`)
      }
      send("<r xmlns='urn:xmpp:sm:3'/>")
      await next(new RegExp(`<a .*h=['"]${bodies.length}['"]`))
      close()
    },
    [to, bodies],
  )
}

/** Makes a group with so many members, or a room that is open to all and shows no addresses, and invites somebody who is to hear what is said in it from then on. */
export async function crowd(page, account, { room, name, members = 0, guest, open = false }) {
  await crier(page, account)
  await page.evaluate(
    async ([room, name, members, guest, open]) => {
      const { send, next } = globalThis.crier
      let n = 0
      const ask = async (to, payload) => {
        const id = `ask${n++}`
        send(`<iq xmlns='jabber:client' type='set' to='${to}' id='${id}'>${payload}</iq>`)
        const answer = await next(new RegExp(`id=['"]${id}['"]`))
        if (!/type=['"]result['"]/.test(answer)) throw new Error(answer)
      }
      const field = (name, value) => `<field var='${name}'><value>${value}</value></field>`
      send(`<presence xmlns='jabber:client' to='${room}/Crier'><x xmlns='http://jabber.org/protocol/muc'/></presence>`)
      await next(/code=['"]201['"]/)
      const config = 'http://jabber.org/protocol/muc#roomconfig'
      const form = (name) => `<x xmlns='jabber:x:data' type='submit'>${field('FORM_TYPE', config)}${field('muc#roomconfig_roomname', name)}${field('muc#roomconfig_persistentroom', '1')}${open ? field('muc#roomconfig_membersonly', '0') + field('muc#roomconfig_whois', 'moderators') : ''}</x>`
      globalThis.crier.configure = (name) => ask(room, `<query xmlns='http://jabber.org/protocol/muc#owner'>${form(name)}</query>`)
      await globalThis.crier.configure(name)
      for (let i = 0; i < members; i += 100) {
        const items = Array.from({ length: 100 }, (_, j) => `<item affiliation='member' jid='member${i + j}@localhost' nick='Member ${i + j}'/>`)
        await ask(room, `<query xmlns='http://jabber.org/protocol/muc#admin'>${items.join('')}</query>`)
      }
      globalThis.crier.invite = (guest) => send(`<message xmlns='jabber:client' to='${room}'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='${guest}'/></x></message>`)
      globalThis.crier.invite(guest)
      globalThis.crier.talk = (everyMs) => {
        let i = 0
        setInterval(() => send(`<message xmlns='jabber:client' to='${room}' type='groupchat' id='talk${i}'><body>said ${i++}</body></message>`), everyMs)
      }
    },
    [room, name, members, guest, open],
  )
}

/**
 * From now on, pages of that browser find so many more people in a room than the server has there: their presence is put before one's own, each in
 * a frame and a task of its own, as a server sends it. The rest is the server's; `crowded` in the page has them come and go.
 */
export const among = (context, room, count) =>
  context.addInitScript(
    ([room, count]) => {
      const presence = (n, type = '') =>
        `<presence xmlns='jabber:client' from='${room}/Guest ${n}'${type}><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x></presence>`
      class Crowded extends WebSocket {
        added = 0
        queue = []
        turns = new MessageChannel()

        constructor(...args) {
          super(...args)
          globalThis.crowded = { comes: (n) => this.add(presence(n)), goes: (n) => this.add(presence(n, " type='unavailable'")) }
          this.turns.port1.onmessage = () => this.turn()
          this.addEventListener('message', (e) => {
            if (!e.isTrusted) return
            e.stopImmediatePropagation()
            const own = e.data.startsWith('<presence') && e.data.includes(`${room}/`) && /code=['"]110['"]/.test(e.data)
            if (own) for (let n = 0; n < count; n++) this.add(presence(n))
            this.put(e.data, false)
          })
        }

        add(frame) {
          this.put(frame, true)
        }

        put(frame, ours) {
          if (this.queue.push({ frame, ours }) === 1) this.turns.port2.postMessage('')
        }

        turn() {
          const { frame, ours } = this.queue.shift()
          if (this.queue.length > 0) this.turns.port2.postMessage('')
          if (ours) this.added++
          this.dispatchEvent(new MessageEvent('message', { data: frame }))
        }

        /** The server counts only what it has sent (XEP-0198). */
        send(frame) {
          super.send(frame.replace(/^(<a [^>]*\bh=['"])(\d+)/, (_, a, h) => a + (h - this.added)))
        }
      }
      globalThis.WebSocket = Crowded
    },
    [room, count],
  )
