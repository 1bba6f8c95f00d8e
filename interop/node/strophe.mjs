// SPDX-License-Identifier: Apache-2.0
// A strophe.js client that a test drives (see lines.mjs). strophe.js is the
// stream, with stream management, and a builder of stanzas; what it sends and
// how it reads the answers is what applications on it do.

import { $iq, $msg, $pres, Strophe } from 'strophe.js';
import { log, serve, tell, until, within } from './lines.mjs';

const NS = {
  blocking: 'urn:xmpp:blocking',
  carbons: 'urn:xmpp:carbons:2',
  delay: 'urn:xmpp:delay',
  forward: 'urn:xmpp:forward:0',
  info: 'http://jabber.org/protocol/disco#info',
  items: 'http://jabber.org/protocol/disco#items',
  mam: 'urn:xmpp:mam:2',
  markers: 'urn:xmpp:chat-markers:0',
  nick: 'http://jabber.org/protocol/nick',
  ping: 'urn:xmpp:ping',
  pubsub: 'http://jabber.org/protocol/pubsub',
  event: 'http://jabber.org/protocol/pubsub#event',
  receipts: 'urn:xmpp:receipts',
  roster: 'jabber:iq:roster',
  rsm: 'http://jabber.org/protocol/rsm',
  sid: 'urn:xmpp:sid:0',
  states: 'http://jabber.org/protocol/chatstates',
  vcard: 'vcard-temp',
};
const status = Object.fromEntries(Object.entries(Strophe.Status).map(([name, number]) => [number, name]));

let connection;

Strophe.setLogLevel(Strophe.LogLevel.DEBUG);
Strophe.log = (level, text) => log('strophe', level, text);

function children(el, name, ns) {
  return [...(el?.childNodes ?? [])].filter((c) => c.localName === name && (!ns || c.namespaceURI === ns));
}
const child = (el, name, ns) => children(el, name, ns)[0];
const text = (el) => el?.textContent ?? '';

function describe(message) {
  return {
    from: message.getAttribute('from'),
    to: message.getAttribute('to'),
    type: message.getAttribute('type') ?? 'normal',
    id: message.getAttribute('id') ?? '',
    body: text(child(message, 'body')),
    stanza_id: child(message, 'stanza-id', NS.sid)?.getAttribute('id') ?? '',
    stamp: child(message, 'delay', NS.delay)?.getAttribute('stamp') ?? '',
  };
}

function onMessage(message) {
  const from = message.getAttribute('from');
  for (const kind of ['sent', 'received']) {
    const carbon = child(message, kind, NS.carbons);
    if (carbon) {
      tell(`carbon_${kind}`, { by: from, ...describe(child(child(carbon, 'forwarded', NS.forward), 'message')) });
      return true;
    }
  }
  if (child(message, 'result', NS.mam)) return true; // its query takes it
  if (message.getAttribute('type') === 'error') {
    tell('message_error', { ...describe(message), condition: child(message, 'error').firstElementChild.localName });
    return true;
  }
  const items = child(child(message, 'event', NS.event), 'items');
  if (items) {
    tell('published', { from, node: items.getAttribute('node'), value: text(child(items, 'item')) });
    return true;
  }
  const received = child(message, 'received', NS.receipts);
  const displayed = child(message, 'displayed', NS.markers);
  const state = ['composing', 'paused', 'active', 'inactive', 'gone'].find((name) => child(message, name, NS.states));
  if (received) tell('receipt', { from, id: received.getAttribute('id') });
  if (displayed) tell('displayed', { from, id: displayed.getAttribute('id') });
  if (state) tell('state', { from, state });
  if (child(message, 'body')) {
    tell('message', describe(message));
    if (child(message, 'request', NS.receipts)) {
      connection.send($msg({ to: from, type: 'chat', id: connection.getUniqueId() }).c('received', { xmlns: NS.receipts, id: message.getAttribute('id') }));
    }
  }
  return true;
}

function onPresence(presence) {
  const type = presence.getAttribute('type') ?? 'available';
  tell(type.includes('subscribe') ? type : 'presence', {
    from: presence.getAttribute('from'),
    type,
    show: text(child(presence, 'show')),
    status: text(child(presence, 'status')),
  });
  return true;
}

function onRosterPush(iq) {
  const item = child(child(iq, 'query', NS.roster), 'item');
  tell('item', { jid: item.getAttribute('jid'), subscription: item.getAttribute('subscription'), ask: item.getAttribute('ask') ?? '' });
  connection.send($iq({ type: 'result', id: iq.getAttribute('id') }));
  return true;
}

function onBlocking(iq) {
  const change = iq.firstElementChild;
  tell(`${change.localName}ed`, { jids: children(change, 'item').map((i) => i.getAttribute('jid')) });
  connection.send($iq({ type: 'result', id: iq.getAttribute('id') }));
  return true;
}

function onPing(iq) {
  connection.send($iq({ type: 'result', id: iq.getAttribute('id'), to: iq.getAttribute('from') }));
  return true;
}

function listen() {
  connection.addHandler(onMessage, null, 'message');
  connection.addHandler(onPresence, null, 'presence');
  connection.addHandler(onRosterPush, NS.roster, 'iq', 'set');
  connection.addHandler(onBlocking, NS.blocking, 'iq', 'set');
  connection.addHandler(onPing, NS.ping, 'iq', 'get');
}

/** Sends a request and waits for its answer. */
function ask(iq) {
  return new Promise((resolve, reject) => {
    connection.sendIQ(iq, resolve, (answer) => reject(new Error(answer ? child(answer, 'error').firstElementChild.localName : 'no answer')), 20_000);
  });
}

function connected() {
  return within(
    20,
    'connection',
    new Promise((resolve, reject) => {
      connection.connect(commands.jid, commands.password, (code, condition) => {
        log('status', status[code], condition);
        switch (code) {
          case Strophe.Status.CONNECTED:
            listen();
            tell(connection.hasResumed() ? 'resumed' : 'session', { jid: connection.jid });
            resolve();
            break;
          case Strophe.Status.AUTHFAIL:
          case Strophe.Status.CONNFAIL:
            reject(new Error(`${status[code]}: ${condition}`));
            break;
          case Strophe.Status.DISCONNECTED:
            tell('disconnected', {});
        }
      });
    }),
  );
}

const commands = {
  async connect({ url, jid, password }) {
    Object.assign(commands, { jid, password });
    connection = new Strophe.Connection(url, { enableStreamManagement: true, streamManagement: { maxUnacked: 1 } });
    connection.xmlInput = (el) => log('RECV', Strophe.serialize(el));
    connection.xmlOutput = (el) => log('SENT', Strophe.serialize(el));
    const enabled = new Promise((resolve) => (connection.sm.onEnabled = resolve));
    await connected();
    await within(20, 'stream management', enabled);
    return { jid: connection.jid, resumable: connection.sm.hasResumableState() };
  },
  /** Connects again, as the same Connection: it resumes the session. */
  reconnect: () => connected(),
  disconnect: () => connection.disconnect('bye'),
  available: ({ show, status: line }) => {
    const presence = $pres();
    if (show) presence.c('show').t(show).up();
    if (line) presence.c('status').t(line).up();
    connection.send(presence);
  },
  send({ to, body, receipt, markable }) {
    const id = connection.getUniqueId();
    const message = $msg({ to, type: 'chat', id }).c('body').t(body).up().c('origin-id', { xmlns: NS.sid, id }).up();
    if (receipt) message.c('request', { xmlns: NS.receipts }).up();
    if (markable) message.c('markable', { xmlns: NS.markers }).up();
    connection.send(message);
    return id;
  },
  chat_state: ({ to, state }) => connection.send($msg({ to, type: 'chat' }).c(state, { xmlns: NS.states })),
  displayed: ({ to, id }) => connection.send($msg({ to, type: 'chat', id: connection.getUniqueId() }).c('displayed', { xmlns: NS.markers, id })),
  /** Waits until the server has acknowledged all that was sent. */
  async settled() {
    connection.sm.requestAck();
    await until('acknowledgement', () => connection.sm.state.unacked.length === 0);
  },
  async roster() {
    const answer = await ask($iq({ type: 'get' }).c('query', { xmlns: NS.roster, ver: '' }));
    const items = children(child(answer, 'query', NS.roster), 'item');
    return Object.fromEntries(items.map((i) => [i.getAttribute('jid'), i.getAttribute('subscription')]));
  },
  subscribe: ({ to }) => connection.send($pres({ to, type: 'subscribe' })),
  approve: ({ to }) => connection.send($pres({ to, type: 'subscribed' })),
  carbons: async () => void (await ask($iq({ type: 'set' }).c('enable', { xmlns: NS.carbons }))),
  ping: async ({ jid }) => void (await ask($iq({ type: 'get', to: jid }).c('ping', { xmlns: NS.ping }))),
  async info({ jid }) {
    const query = child(await ask($iq({ type: 'get', to: jid }).c('query', { xmlns: NS.info })), 'query', NS.info);
    return children(query, 'feature').map((f) => f.getAttribute('var')).sort();
  },
  /** Reads the whole conversation, page by page, backwards. */
  async history({ peer, page }) {
    const found = [];
    for (let before = '', last = false; !last; ) {
      const queryid = connection.getUniqueId();
      const got = [];
      const handler = connection.addHandler(
        (message) => {
          const result = child(message, 'result', NS.mam);
          if (result?.getAttribute('queryid') === queryid) {
            const forwarded = child(result, 'forwarded', NS.forward);
            got.push({ archive_id: result.getAttribute('id'), ...describe(child(forwarded, 'message')) });
          }
          return true;
        },
        NS.mam,
        'message',
      );
      const query = $iq({ type: 'set' }).c('query', { xmlns: NS.mam, queryid });
      query.c('x', { xmlns: 'jabber:x:data', type: 'submit' });
      query.c('field', { var: 'FORM_TYPE', type: 'hidden' }).c('value').t(NS.mam).up().up();
      query.c('field', { var: 'with' }).c('value').t(peer).up().up().up();
      query.c('set', { xmlns: NS.rsm }).c('max').t(String(page)).up().c('before').t(before);
      const fin = child(await ask(query), 'fin', NS.mam);
      connection.deleteHandler(handler);
      found.unshift(...got);
      last = fin.getAttribute('complete') === 'true';
      before = text(child(child(fin, 'set', NS.rsm), 'first'));
    }
    return found.map((m) => m.body).filter(Boolean);
  },
  block: async ({ jid }) => void (await ask($iq({ type: 'set' }).c('block', { xmlns: NS.blocking }).c('item', { jid }))),
  unblock: async ({ jid }) => void (await ask($iq({ type: 'set' }).c('unblock', { xmlns: NS.blocking }).c('item', { jid }))),
  async blocklist() {
    const list = child(await ask($iq({ type: 'get' }).c('blocklist', { xmlns: NS.blocking })), 'blocklist', NS.blocking);
    return children(list, 'item').map((i) => i.getAttribute('jid'));
  },
  async nick({ name }) {
    await ask($iq({ type: 'set' }).c('pubsub', { xmlns: NS.pubsub }).c('publish', { node: NS.nick }).c('item').c('nick', { xmlns: NS.nick }).t(name));
  },
  async items({ jid, node }) {
    const pubsub = child(await ask($iq({ type: 'get', to: jid }).c('pubsub', { xmlns: NS.pubsub }).c('items', { node })), 'pubsub', NS.pubsub);
    return children(child(pubsub, 'items'), 'item').map(text);
  },
  async set_vcard({ name }) {
    await ask($iq({ type: 'set' }).c('vCard', { xmlns: NS.vcard }).c('FN').t(name));
  },
  async vcard({ jid }) {
    return text(child(child(await ask($iq({ type: 'get', to: jid }).c('vCard', { xmlns: NS.vcard })), 'vCard', NS.vcard), 'FN'));
  },
};

await serve(commands);
