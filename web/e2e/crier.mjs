// SPDX-License-Identifier: Apache-2.0

/**
 * Says much at once, as another device of somebody's that has no app: from a page of theirs, over a WebSocket of its own.
 * Settles once the server has acknowledged all of it.
 */
export const cry = (page, { address, password }, to, bodies) =>
  page.evaluate(
    async ([address, password, to, bodies]) => {
      const [user, domain] = address.split('@')
      const socket = new WebSocket(location.origin.replace('http', 'ws') + '/xmpp-websocket', 'xmpp')
      const frames = []
      let woken = () => undefined
      socket.onmessage = (e) => {
        frames.push(e.data)
        woken()
      }
      socket.onclose = () => {
        frames.push('closed')
        woken()
      }
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
        socket.send(`<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='${domain}' version='1.0'/>`)
        await next(/features/)
      }
      await new Promise((done) => (socket.onopen = done))
      await open()
      socket.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa(`\0${user}\0${password}`)}</auth>`)
      await next(/<success/)
      await open()
      socket.send("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
      await next(/type=['"]result/)
      socket.send("<enable xmlns='urn:xmpp:sm:3'/>")
      await next(/<enabled/)
      for (const [i, body] of bodies.entries()) {
        socket.send(`<message xmlns='jabber:client' to='${to}' type='chat' id='cry${i}'><body>${body}</body><origin-id xmlns='urn:xmpp:sid:0' id='cry${i}'/></message>`)
      }
      socket.send("<r xmlns='urn:xmpp:sm:3'/>")
      await next(new RegExp(`<a .*h=['"]${bodies.length}['"]`))
      socket.onclose = null
      socket.close()
    },
    [address, password, to, bodies],
  )
