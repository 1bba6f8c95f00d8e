// SPDX-License-Identifier: Apache-2.0
// A stanza client (stanza.io's successor) that a test drives (see lines.mjs).

import { createHash } from 'node:crypto';
import stanza from 'stanza';
import { log, serve, tell, until, within } from './lines.mjs';

let client;

function describe(message) {
  return {
    from: message.from,
    to: message.to,
    type: message.type ?? 'normal',
    id: message.id ?? '',
    body: message.body ?? '',
    stanza_id: message.stanzaIds?.[0]?.id ?? '',
    stamp: message.delay?.timestamp?.toISOString?.() ?? '',
    replaces: message.replace ?? '',
  };
}

function listen() {
  client.on('raw:incoming', (data) => log('RECV', data));
  client.on('raw:outgoing', (data) => log('SENT', data));
  client.on('session:started', () => tell('session', { jid: client.jid }));
  client.on('stream:management:resumed', () => tell('resumed', {}));
  client.on('disconnected', () => tell('disconnected', {}));
  client.on('auth:failed', () => tell('auth_failed', {}));
  client.on('stream:error', (error) => tell('stream_error', error));
  client.on('message:acked', (message) => tell('acked', { id: message.id }));
  client.on('message:failed', (message) => tell('failed', { id: message.id }));
  client.on('message', (message) => {
    if (message.type === 'error') tell('message_error', { ...describe(message), condition: message.error?.condition });
    else if (message.body && !message.carbon) tell('message', describe(message));
  });
  for (const kind of ['sent', 'received']) {
    client.on(`carbon:${kind}`, (message) => tell(`carbon_${kind}`, { by: message.from, ...describe(message.carbon.forward.message) }));
  }
  client.on('receipt', (message) => tell('receipt', { from: message.from, id: message.receipt.id }));
  client.on('chat:state', (message) => tell('state', { from: message.from, state: message.chatState }));
  client.on('marker:displayed', (message) => tell('displayed', { from: message.from, id: message.marker.id }));
  client.on('replace', (message) => tell('replaced', describe(message)));
  for (const type of ['available', 'unavailable']) {
    client.on(type, (p) => tell('presence', { from: p.from, type, show: p.show ?? '', status: p.status ?? '' }));
  }
  for (const type of ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed']) {
    client.on(type, (p) => tell(type, { from: p.from }));
  }
  client.on('roster:update', (iq) => iq.roster.items.forEach((i) => tell('item', { jid: i.jid, subscription: i.subscription ?? 'none' })));
  for (const change of ['block', 'unblock']) client.on(change, ({ jids }) => tell(`${change}ed`, { jids }));
  client.on('avatar', ({ jid, avatars, source }) => tell('avatar', { from: jid, source, ids: avatars.map((a) => a.id) }));
  client.on('nick', ({ jid, nick }) => tell('nick', { from: jid, value: nick ?? '' }));
  client.on('disco:caps', ({ jid, caps }) => tell('caps', { from: jid, ver: caps[0]?.value ?? '' }));
}

const once = (event) => new Promise((resolve) => client.once(event, resolve));

const commands = {
  /** Connects to url, or to what host-meta at an address names. */
  async connect({ url, discover, jid, password }) {
    const [address, resource] = jid.split('/');
    client = stanza.createClient({ jid: address, resource, password, transports: { bosh: false, websocket: url ?? true }, autoReconnect: true, maxReconnectBackoff: 0.1 });
    if (discover) {
      const ask = client.discoverBindings;
      client.discoverBindings = () => ask(discover); // of the domain, which has no port 443 here
    }
    listen();
    const failed = once('auth:failed').then(() => Promise.reject(new Error('auth failed')));
    client.connect();
    await within(20, 'session', Promise.race([once('session:started'), failed]));
    await until('stream management', () => client.sm.resumable);
    return { jid: client.jid, resumable: client.sm.resumable, url: client.transport?.config?.url ?? '' };
  },
  available: async ({ show, status }) => {
    await client.updateCaps();
    const caps = client.getCurrentCaps();
    client.sendPresence({ show, status, legacyCapabilities: caps?.legacyCapabilities });
  },
  /** Adds interests to what it says of itself, as +notify. */
  interests({ nodes }) {
    for (const node of nodes) client.disco.addFeature(`${node}+notify`);
  },
  send({ to, body, receipt, markable, replaces }) {
    return client.sendMessage({
      to,
      body,
      type: 'chat',
      receipt: receipt ? { type: 'request' } : undefined,
      marker: markable ? { type: 'markable' } : undefined,
      replace: replaces,
    });
  },
  chat_state: ({ to, state }) => void client.sendMessage({ to, type: 'chat', chatState: state }),
  displayed: ({ to, id }) => void client.sendMessage({ to, type: 'chat', marker: { type: 'displayed', id } }),
  async roster() {
    const { items } = await client.getRoster();
    return Object.fromEntries(items.map((i) => [i.jid, i.subscription]));
  },
  subscribe: ({ to }) => client.subscribe(to),
  approve: ({ to }) => client.acceptSubscription(to),
  unsubscribe: ({ to }) => client.unsubscribe(to),
  rename: ({ jid, name }) => client.updateRosterItem({ jid, name }),
  carbons: () => client.enableCarbons(),
  ping: async ({ jid }) => void (await client.ping(jid)),
  info: async ({ jid }) => (await client.getDiscoInfo(jid)).features.sort(),
  items: async ({ jid }) => (await client.getDiscoItems(jid)).items.map((i) => i.node ?? i.jid).sort(),
  version: async ({ jid }) => (await client.getSoftwareVersion(jid)).name,
  time: async ({ jid }) => (await client.getTime(jid)).utc.toISOString(),
  last_activity: async ({ jid }) => (await client.getLastActivity(jid)).seconds,
  /** Reads the whole conversation, page by page, forwards. */
  async history({ peer, page }) {
    const found = [];
    for (let after, complete = false; !complete; ) {
      const fin = await client.searchHistory({ with: peer, paging: { max: page, after } });
      for (const result of fin.results ?? []) found.push(result.item.message.body);
      complete = fin.complete ?? false;
      after = fin.paging?.last;
    }
    return found.filter(Boolean);
  },
  block: ({ jid }) => client.block(jid),
  unblock: ({ jid }) => client.unblock(jid),
  blocklist: async () => (await client.getBlocked()).jids ?? [],
  nick: async ({ name }) => void (await client.publishNick(name)),
  async avatar({ data }) {
    const picture = Buffer.from(data, 'base64');
    const id = createHash('sha1').update(picture).digest('hex');
    await client.publishAvatar(id, picture);
    await client.useAvatars([{ id, mediaType: 'image/png', bytes: picture.length, height: 1, width: 1 }]);
    return id;
  },
  get_avatar: async ({ jid, id }) => (await client.getAvatar(jid, id)).content.data.toString('base64'),
  nodes: async ({ jid }) => (await client.getDiscoItems(jid)).items.map((i) => i.node).sort(),
  async configuration({ node }) {
    const form = await client.getNodeConfig('', node);
    return Object.fromEntries(form.fields.map((f) => [f.name, f.value ?? null]));
  },
  async set_vcard({ name }) {
    await client.publishVCard({ fullName: name });
  },
  vcard: async ({ jid }) => (await client.getVCard(jid)).fullName ?? '',
  bookmark: async ({ jid, name }) => void (await client.setBookmarks([{ jid, name, autoJoin: true }])),
  bookmarks: async () => (await client.getBookmarks()).map((b) => `${b.name} ${b.jid}`),
  account: async () => Object.keys(await client.getAccountInfo('localhost')).sort(),
  password: async ({ password }) => void (await client.updateAccount('localhost', { username: client.jid.split('@')[0], password })),
  disconnect: () => client.disconnect(),
};

await serve(commands);
