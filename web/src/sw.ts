// SPDX-License-Identifier: Apache-2.0

import type { Chat, NoticeWords, Notified } from './store/schema'

/**
 * The service worker: the app's own files, from the device, and notifications.
 * What is not part of the app goes to the network as if it were not there.
 */

// Filled in by the build.
declare const __FILES__: string[]
declare const __VERSION__: string

const worker = self as unknown as ServiceWorkerGlobalScope
const FILES: string[] = __FILES__
const CACHE = `bavard ${__VERSION__}`

worker.addEventListener('install', (event) => {
  event.waitUntil(
    caches.open(CACHE).then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: 'no-cache' })))),
  )
})

worker.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((n) => n.startsWith('bavard ') && n !== CACHE).map((n) => caches.delete(n))))
      .then(() => worker.clients.claim()),
  )
})

worker.addEventListener('message', (event) => {
  if (event.data === 'take over') void worker.skipWaiting()
  else if (event.data === 'claim') event.waitUntil(worker.clients.claim())
  else if (event.data === 'headers') event.waitUntil(renew().catch(() => undefined))
})

/** The server may say now that the page may connect elsewhere: it is kept anew. Another page comes with its own worker. */
async function renew(): Promise<void> {
  const cache = await caches.open(CACHE)
  const [kept, page] = await Promise.all([cache.match('/'), fetch(new Request('/', { cache: 'no-cache' }))])
  if (kept && page.ok && (await kept.text()) === (await page.clone().text())) await cache.put('/', page)
}

const isApp = (url: URL): boolean => url.pathname === '/' || /^\/(i|c|chat)\/[^/]+$/.test(url.pathname)

worker.addEventListener('fetch', (event) => {
  const { request } = event
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== worker.location.origin) return
  const page = request.mode === 'navigate' && isApp(url)
  if (!page && !FILES.includes(url.pathname)) return
  const file = page ? '/' : url.pathname
  event.respondWith(
    caches
      .open(CACHE)
      .then((cache) => cache.match(file))
      .then((kept) => kept ?? fetch(request)),
  )
})

// --- notifications (docs/push.md)

/** Nothing older is taken for what a notification is about. */
const FRESH_MS = 120_000
/** A page that is open, but not seen, gets the message itself, about now. */
const WAIT_MS = 2_000
const LOOK_AGAIN_MS = 100
/** A page says within this what it shows; not much later the click no longer lets a window come to the front. */
const SHOWS_MS = 500

/** Reads the app's store; undefined when there is none. Makes none, and changes nothing. */
async function read<T>(store: 'chats' | 'meta', key?: string): Promise<T | undefined> {
  const opening = indexedDB.open('bavard')
  opening.onupgradeneeded = () => opening.transaction?.abort()
  const db = await new Promise<IDBDatabase | undefined>((done) => {
    opening.onsuccess = () => done(opening.result)
    opening.onerror = () => done(undefined)
  })
  if (!db) return undefined
  try {
    const from = db.transaction(store).objectStore(store)
    const got = key === undefined ? from.getAll() : from.get(key)
    return await new Promise((done) => {
      got.onsuccess = () => done(got.result as T)
      got.onerror = () => done(undefined)
    })
  } catch {
    return undefined
  } finally {
    db.close()
  }
}

/** The conversations that something new and unread is in, the newest first. */
async function fresh(): Promise<Chat[]> {
  const now = Date.now()
  const calls = (c: Chat): boolean => c.unread > 0 && c.time > now - FRESH_MS && !(c.muted && (c.muted.until ?? Infinity) > now)
  return ((await read<Chat[]>('chats')) ?? []).filter(calls).sort((a, b) => b.time - a.time)
}

/** Who wrote and what, if a page has it; who is told of it is not told twice. */
async function known(shown: readonly Notification[]): Promise<Chat | undefined> {
  const told = (c: Chat): boolean => shown.some((n) => (n.data as Shown | undefined)?.peer === c.peer && (n.data as Shown).key === c.last?.key)
  for (let waited = 0; waited <= WAIT_MS; waited += LOOK_AGAIN_MS) {
    const chat = (await fresh()).find((c) => !told(c) && c.last && !c.last.out)
    if (chat) return chat
    if ((await worker.clients.matchAll({ type: 'window' })).length === 0) return undefined
    await new Promise((done) => setTimeout(done, LOOK_AGAIN_MS))
  }
  return undefined
}

interface Shown {
  peer?: string | undefined
  key?: number | undefined
}

async function notify(note: { kind?: unknown; tag?: unknown }): Promise<void> {
  const pages = await worker.clients.matchAll({ type: 'window' })
  // Whoever looks at the app sees it there.
  if (pages.some((p) => p.visibilityState === 'visible' && p.focused)) return
  const kept = await read<Notified>('meta', 'notify')
  const words: NoticeWords = { message: 'New message', call: 'Incoming call', ended: 'The call is over', request: 'Somebody asks to be your contact', ...kept?.words }
  const kind = note.kind === 'call' || note.kind === 'ended' || note.kind === 'request' ? note.kind : 'message'
  const chat = kind !== 'message' ? undefined : await known(await worker.registration.getNotifications())
  const data: Shown = { peer: chat?.peer, key: chat?.last?.key }
  const by = chat?.last?.by ? chat.last.by + ': ' : ''
  await worker.registration.showNotification(chat ? chat.name || chat.peer : 'bavard', {
    body: chat?.last?.body ? by + chat.last.body : words[kind],
    tag: chat ? 'chat ' + chat.peer : typeof note.tag === 'string' ? note.tag : 'bavard',
    // That a call is over takes the place of the call, without a sound.
    renotify: kind !== 'ended',
    icon: '/icon-192.png',
    data,
  } as NotificationOptions)
  // How many there are is known only while a page is open, and that says so itself.
  if (pages.length === 0) await worker.navigator.setAppBadge?.()
}

/** Whether a page shows that chat: the browser knows only how the page began. One that sleeps does not say. */
function shows(page: Client, peer: string): Promise<boolean> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = (e) => resolve(e.data === true)
    setTimeout(resolve, SHOWS_MS, false)
    page.postMessage({ shows: peer }, [port2])
  })
}

async function openApp({ peer }: Shown): Promise<void> {
  const path = peer ? '/chat/' + encodeURIComponent(peer).replace('%40', '@') : '/?unread'
  // Those that were looked at last come first; best is one that shows the chat already. Files that were opened are windows, too.
  const pages = (await worker.clients.matchAll({ type: 'window', includeUncontrolled: true })).filter((p) => isApp(new URL(p.url)))
  const showing = pages.length > 1 && peer ? await Promise.all(pages.map((p) => shows(p, peer))) : []
  const page = pages[Math.max(0, showing.indexOf(true))]
  if (!page) {
    await worker.clients.openWindow(path)
    return
  }
  page.postMessage({ open: peer ?? '' })
  await page.focus()
}

worker.addEventListener('push', (event) => {
  let note = {}
  try {
    note = Object(event.data?.json() ?? {}) as object
  } catch {
    // Not what our server sends: that there is something is said all the same.
  }
  event.waitUntil(notify(note))
})

worker.addEventListener('notificationclick', (event) => {
  event.notification.close()
  event.waitUntil(openApp((event.notification.data ?? {}) as Shown))
})

// The browser takes another endpoint; the server is told when the app is opened next.
worker.addEventListener('pushsubscriptionchange', (event) => {
  const options = (event as unknown as { oldSubscription?: PushSubscription }).oldSubscription?.options
  const key = options?.applicationServerKey
  if (key) event.waitUntil(worker.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key }))
})
