// SPDX-License-Identifier: Apache-2.0
// Converse.js in a Chromium without a screen, which a test drives (see
// lines.mjs): it types and clicks where people do, and reads what Converse
// believes from its models. The page that has Converse is served here.

import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { log, serve, tell } from './lines.mjs';

const DIST = fileURLToPath(new URL('node_modules/converse.js/dist', import.meta.url));
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml' };
const PATIENCE = 50_000; // for everything, in ms; less than that of the test
const CONNECTED = 5; // of a room: connection_status ENTERED

const PAGE = `<!doctype html><meta charset="utf-8"><title>Converse</title>
<link rel="stylesheet" href="/dist/converse.min.css"><body><script type="module">
await import('/dist/converse.min.js');
converse.plugins.add('driver', { initialize() { window.driven = this._converse; } });
converse.initialize({
  view_mode: 'fullscreen', whitelisted_plugins: ['driver'], loglevel: 'info', i18n: 'en', auto_focus: false, play_sounds: false,
  show_retraction_warning: false, show_desktop_notifications: false, muc_history_max_stanzas: 0, notify_all_room_messages: false,
});
</script>`;

let browser, context, page, origin;

/** Serves the page and what belongs to Converse, to this browser. */
function servePage() {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = join(DIST, pathname.replace(/^\/dist\//, ''));
    if (pathname === '/') return response.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE);
    if (!pathname.startsWith('/dist/') || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    return createReadStream(file).pipe(response);
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(`http://localhost:${server.address().port}`)));
}

/** Waits until a function of the page gives something, and returns that. */
async function until(what, f, arg) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await page.evaluate(f, arg).catch((error) => log('not yet', error.message)); // there may be no page yet
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${PATIENCE} ms: ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

/**
 * What Converse has of a conversation, oldest first, without its own remarks and
 * without what was retracted: that it may or may not show.
 */
function messages(jid) {
  return page.evaluate((jid) => {
    const all = window.driven?.state?.chatboxes?.get(jid)?.messages ?? [];
    return all
      .filter((m) => ['chat', 'groupchat'].includes(m.get('type')) && m.get('body') && !m.isRetracted())
      .map((m) => ({
        body: m.get('body'),
        out: m.get('sender') === 'me',
        nick: m.get('nick') ?? '',
        id: m.get('msgid'),
        archive: m.get(`stanza_id ${jid}`) ?? '',
        received: Boolean(m.get('received')),
        reactions: Object.values(m.get('reactions') ?? {}).flat().join(''),
      }));
  }, jid);
}

/** The message with a text on screen. */
const bubble = (text) => page.locator('.chat-msg:visible', { hasText: text }).last();

/** Clicks an entry of a message's menu. */
async function choose(text, action) {
  const message = bubble(text);
  await message.hover();
  await message.locator('converse-message-actions .dropdown-toggle').click();
  await message.locator(`.chat-msg__action-${action}`).click();
}

/** Shows a conversation, so that what is typed goes there. */
async function show(jid) {
  const room = await page.evaluate((jid) => window.driven.state.chatboxes.get(jid)?.get('type') === 'chatroom', jid);
  await page.evaluate(([jid, room]) => window.driven.api[room ? 'rooms' : 'chats'].open(jid, {}, true), [jid, room]);
  return page.locator('textarea.chat-textarea:visible');
}

const connected = () => until('a session', () => window.driven?.api?.connection?.authenticated() && window.driven.session.get('jid'));

const commands = {
  /** Serves the page; its origin has to be one of those that the server lets in. */
  page: async () => (origin ??= await servePage()),

  async open({ domain, port, chromium: executablePath }) {
    browser = await chromium.launch({
      executablePath,
      args: [
        ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
        `--host-resolver-rules=MAP ${domain}:443 127.0.0.1:${port}`, // where Converse looks for host-meta
      ],
    });
  },

  /** A device that has never been here logs in, by the form. */
  async login({ jid, password }) {
    await context?.close();
    // The authority is the server's own: that pages are told whom to trust is not what is tested.
    context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1100, height: 760 }, locale: 'en-GB' });
    context.setDefaultTimeout(PATIENCE);
    page = await context.newPage();
    page.on('console', (m) => log('page', m.text()));
    page.on('pageerror', (e) => log('thrown', e));
    page.on('websocket', (socket) => {
      tell('socket', { url: socket.url() });
      socket.on('framesent', ({ payload }) => log('SENT', payload));
      socket.on('framereceived', ({ payload }) => log('RECV', payload));
    });
    await page.goto(origin);
    await page.fill('input[name=jid]', jid);
    await page.fill('input[name=password]', password);
    await page.click('#converse-login button[type=submit]');
    return connected();
  },
  /**
   * Loads the page again, once Converse has on disk what it shows: it writes behind, and a page that goes in between
   * loses, in its new life, what the server knows that it has acknowledged.
   */
  async reload() {
    await until('what is shown being stored', async () => {
      for (const box of window.driven.state.chatboxes.models) {
        for (const m of box.messages?.models ?? []) {
          const stored = await box.messages.storage.find(m);
          if (['body', 'moderated', 'retracted'].some((key) => (stored?.[key] ?? null) !== (m.get(key) ?? null))) return false;
        }
      }
      return true;
    });
    await page.reload();
    return connected();
  },
  connected,

  /** Waits until a conversation has exactly these texts, in this order. */
  async has({ jid, bodies }) {
    const want = JSON.stringify(bodies);
    const end = Date.now() + PATIENCE;
    for (let got; ; ) {
      const found = await messages(jid).catch((error) => [{ body: error.message }]);
      got = JSON.stringify(found.map((m) => m.body));
      if (got === want) return found;
      if (Date.now() > end) throw new Error(`the conversation with ${jid} has ${got}, not ${want}`);
      await new Promise((next) => setTimeout(next, 50));
    }
  },
  /** Waits until a message has something, such as reactions. */
  async message({ jid, body, key, value }) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const found = (await messages(jid)).filter((m) => m.body === body);
      if (found.length === 1 && found[0][key] === value) return found[0];
      if (Date.now() > end) throw new Error(`${body} has no ${key} ${value}: ${JSON.stringify(found)}`);
      await new Promise((next) => setTimeout(next, 50));
    }
  },
  show: async ({ jid }) => void (await show(jid)),
  /** Waits until a text is on screen. */
  sees: async ({ text }) => void (await bubble(text).waitFor()),
  async say({ jid, body }) {
    const area = await show(jid);
    await area.pressSequentially(body);
    await area.press('Enter');
  },
  async react({ jid, body, emoji }) {
    await show(jid);
    await choose(body, 'reaction');
    await bubble(body).locator('converse-reaction-picker .reaction-item', { hasText: emoji }).click();
  },
  async retract({ jid, body }) {
    await show(jid);
    await choose(body, 'retract');
    await page.locator('.modal.show button[type=submit], .modal.show .btn-primary').first().click();
  },
  async upload({ jid, name, type, data }) {
    await show(jid);
    await page.locator('input.fileupload').last().setInputFiles({ name, mimeType: type, buffer: Buffer.from(data, 'base64') });
  },
  /** Waits until a picture is on screen, and tells how wide it is. */
  picture: ({ name }) =>
    until(`a picture ${name}`, (name) => [...document.querySelectorAll('converse-chat-message img')].find((i) => i.src.endsWith(name) && i.complete)?.naturalWidth, name),

  /** Makes a room for members only, or enters one. */
  async enter({ room, nick, name }) {
    const settings = name ? { auto_configure: true, roomconfig: { membersonly: true, persistentroom: true, roomname: name } } : {};
    await page.evaluate(([room, attrs]) => window.driven.api.rooms.open(room, attrs, true), [room, { nick, ...settings }]);
    return commands.inside({ room });
  },
  /** Waits until an account has an affiliation with a room. */
  affiliated: ({ room, jid, affiliation }) =>
    until(`${jid} being ${affiliation}`, ([room, jid, affiliation]) => window.driven.state.chatboxes.get(room).occupants.findWhere({ jid })?.get('affiliation') === affiliation, [room, jid, affiliation]),
  inside: ({ room }) => until(`being in ${room}`, ([room, entered]) => window.driven.state.chatboxes.get(room)?.session?.get('connection_status') === entered, [room, CONNECTED]),
  invite: ({ room, jid, reason }) => page.evaluate(([room, jid, reason]) => void window.driven.state.chatboxes.get(room).directInvite(jid, reason), [room, jid, reason]),
  occupants: ({ room }) => page.evaluate((room) => window.driven.state.chatboxes.get(room).occupants.filter((o) => o.get('presence') === 'online').map((o) => `${o.get('nick')} ${o.get('affiliation')}`).sort(), room),

  async close() {
    await browser?.close();
  },
};

await serve(commands);
