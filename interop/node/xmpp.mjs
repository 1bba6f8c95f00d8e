// SPDX-License-Identifier: Apache-2.0
// An @xmpp/client (xmpp.js) that a test drives (see lines.mjs). It is the
// stream, with reconnection and stream management, and calls of IQ.

import { client, xml } from '@xmpp/client';
import WebSocket from 'ws';
import { log, serve, tell, until, within } from './lines.mjs';

const NS = {
  blocking: 'urn:xmpp:blocking',
  carbons: 'urn:xmpp:carbons:2',
  delay: 'urn:xmpp:delay',
  info: 'http://jabber.org/protocol/disco#info',
  mam: 'urn:xmpp:mam:2',
  markers: 'urn:xmpp:chat-markers:0',
  ping: 'urn:xmpp:ping',
  receipts: 'urn:xmpp:receipts',
  roster: 'jabber:iq:roster',
  rsm: 'http://jabber.org/protocol/rsm',
  sid: 'urn:xmpp:sid:0',
  states: 'http://jabber.org/protocol/chatstates',
};

globalThis.WebSocket ??= WebSocket; // Node has one from version 22 on

let xmpp;
let number = 0;
const newId = () => `x${process.pid}-${++number}`;

function describe(message) {
  return {
    from: message.attrs.from,
    to: message.attrs.to,
    type: message.attrs.type ?? 'normal',
    id: message.attrs.id ?? '',
    body: message.getChildText('body') ?? '',
    stanza_id: message.getChild('stanza-id', NS.sid)?.attrs.id ?? '',
    stamp: message.getChild('delay', NS.delay)?.attrs.stamp ?? '',
  };
}

function onMessage(message) {
  const { from } = message.attrs;
  for (const kind of ['sent', 'received']) {
    const carbon = message.getChild(kind, NS.carbons);
    if (carbon) return tell(`carbon_${kind}`, { by: from, ...describe(carbon.getChild('forwarded').getChild('message')) });
  }
  if (message.getChild('result', NS.mam)) return undefined; // its query takes it
  if (message.attrs.type === 'error') {
    return tell('message_error', { ...describe(message), condition: message.getChild('error').getChildElements()[0].name });
  }
  const received = message.getChild('received', NS.receipts);
  const displayed = message.getChild('displayed', NS.markers);
  const state = message.getChildElements().find((c) => c.attrs.xmlns === NS.states);
  if (received) tell('receipt', { from, id: received.attrs.id });
  if (displayed) tell('displayed', { from, id: displayed.attrs.id });
  if (state) tell('state', { from, state: state.name });
  if (!message.getChild('body')) return undefined;
  tell('message', describe(message));
  if (message.getChild('request', NS.receipts)) {
    return xmpp.send(xml('message', { to: from, type: 'chat', id: newId() }, xml('received', { xmlns: NS.receipts, id: message.attrs.id })));
  }
  return undefined;
}

function onPresence(presence) {
  const type = presence.attrs.type ?? 'available';
  tell(type.includes('subscribe') ? type : 'presence', {
    from: presence.attrs.from,
    type,
    show: presence.getChildText('show') ?? '',
    status: presence.getChildText('status') ?? '',
  });
}

// xmpp.js 0.14 counts a stanza for stream management when it has been told that it was written. The
// ack of a server on the same machine can be there before that, and is then one too many for it.
function countAtOnce() {
  const write = xmpp.write.bind(xmpp);
  xmpp.write = (text) => {
    const written = write(text);
    written.catch(() => {}); // a broken connection is told elsewhere
    return Promise.race([written, Promise.resolve()]); // without a connection it has failed already
  };
}

function listen() {
  xmpp.on('input', (data) => log('RECV', data));
  xmpp.on('output', (data) => log('SENT', data));
  xmpp.on('error', (error) => log('error', error));
  xmpp.on('send', (element) => element.is('authenticate') && tell('authenticate', { mechanism: element.attrs.mechanism }));
  xmpp.on('status', (status) => log('status', status));
  xmpp.on('online', (address) => tell('session', { jid: String(address) }));
  xmpp.on('disconnect', () => tell('disconnected', {}));
  xmpp.on('stanza', (stanza) => {
    if (stanza.is('message')) onMessage(stanza);
    else if (stanza.is('presence')) onPresence(stanza);
  });
  xmpp.streamManagement.on('resumed', () => tell('resumed', {}));
  xmpp.streamManagement.on('ack', (stanza) => stanza.is('message') && tell('acked', { id: stanza.attrs.id }));
  xmpp.streamManagement.on('fail', (stanza) => tell('failed', { id: stanza.attrs.id }));
  xmpp.iqCallee.set(NS.roster, 'query', ({ element }) => {
    const item = element.getChild('item');
    tell('item', { jid: item.attrs.jid, subscription: item.attrs.subscription, ask: item.attrs.ask ?? '' });
    return {};
  });
  for (const change of ['block', 'unblock']) {
    xmpp.iqCallee.set(NS.blocking, change, ({ element }) => {
      tell(`${change}ed`, { jids: element.getChildren('item').map((i) => i.attrs.jid) });
      return {};
    });
  }
}

const { get, set } = {
  get: (element, to) => xmpp.iqCaller.get(element, to, 20_000),
  set: (element, to) => xmpp.iqCaller.set(element, to, 20_000),
};

const commands = {
  async connect({ service, jid, password }) {
    const [address, resource] = jid.split('/');
    const [username, domain] = address.split('@');
    xmpp = client({ service, domain, resource, username, password });
    xmpp.reconnect.delay = 100;
    const { saveToken } = xmpp.fast;
    xmpp.fast.saveToken = async (token) => {
      await saveToken(token);
      tell('token', { mechanism: token.mechanism });
    };
    xmpp.streamManagement.requestAckDebounce = 10;
    countAtOnce();
    listen();
    const failed = new Promise((_, reject) => xmpp.once('error', reject));
    try {
      const online = await within(20, 'session', Promise.race([xmpp.start(), failed]));
      await until('stream management', () => xmpp.streamManagement.enabled && xmpp.streamManagement.id); // it is online before
      return { jid: String(online), resumable: true };
    } catch (error) {
      await xmpp.stop().catch(() => {});
      throw error;
    }
  },
  stop: async () => void (await xmpp.stop()),
  available: ({ show, status }) => xmpp.send(xml('presence', {}, show && xml('show', {}, show), status && xml('status', {}, status))),
  async send({ to, body, receipt, markable }) {
    const id = newId();
    await xmpp
      .send(
        xml(
          'message',
          { to, type: 'chat', id },
          xml('body', {}, body),
          xml('origin-id', { xmlns: NS.sid, id }),
          receipt && xml('request', NS.receipts),
          markable && xml('markable', NS.markers),
        ),
      )
      .catch((error) => log('kept for later:', error.message)); // without a connection it is in the queue of stream management
    return id;
  },
  chat_state: ({ to, state }) => xmpp.send(xml('message', { to, type: 'chat' }, xml(state, NS.states))),
  displayed: ({ to, id }) => xmpp.send(xml('message', { to, type: 'chat', id: newId() }, xml('displayed', { xmlns: NS.markers, id }))),
  async roster() {
    const query = await get(xml('query', NS.roster));
    return Object.fromEntries(query.getChildren('item').map((i) => [i.attrs.jid, i.attrs.subscription]));
  },
  subscribe: ({ to }) => xmpp.send(xml('presence', { to, type: 'subscribe' })),
  approve: ({ to }) => xmpp.send(xml('presence', { to, type: 'subscribed' })),
  carbons: async () => void (await set(xml('enable', NS.carbons))),
  ping: async ({ jid }) => void (await get(xml('ping', NS.ping), jid)),
  info: async ({ jid }) => (await get(xml('query', NS.info), jid)).getChildren('feature').map((f) => f.attrs.var).sort(),
  /** Reads the whole conversation, page by page, forwards. */
  async history({ peer, page }) {
    const found = [];
    for (let after, complete = false; !complete; ) {
      const queryid = newId();
      const take = (stanza) => {
        const result = stanza.getChild('result', NS.mam);
        if (result?.attrs.queryid === queryid) found.push(describe(result.getChild('forwarded').getChild('message')));
      };
      xmpp.on('stanza', take);
      const form = xml(
        'x',
        { xmlns: 'jabber:x:data', type: 'submit' },
        xml('field', { var: 'FORM_TYPE', type: 'hidden' }, xml('value', {}, NS.mam)),
        xml('field', { var: 'with' }, xml('value', {}, peer)),
      );
      const paging = xml('set', NS.rsm, xml('max', {}, String(page)), after && xml('after', {}, after));
      const query = xml('query', { xmlns: NS.mam, queryid }, form, paging);
      const fin = (await xmpp.iqCaller.request(xml('iq', { type: 'set' }, query), 20_000)).getChild('fin', NS.mam);
      xmpp.off('stanza', take);
      complete = fin.attrs.complete === 'true';
      after = fin.getChild('set', NS.rsm)?.getChildText('last');
    }
    return found.map((m) => m.body).filter(Boolean);
  },
  block: async ({ jid }) => void (await set(xml('block', NS.blocking, xml('item', { jid })))),
  unblock: async ({ jid }) => void (await set(xml('unblock', NS.blocking, xml('item', { jid })))),
  blocklist: async () => (await get(xml('blocklist', NS.blocking))).getChildren('item').map((i) => i.attrs.jid),
};

await serve(commands);
