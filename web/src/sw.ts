// SPDX-License-Identifier: Apache-2.0

/**
 * The service worker: the app's own files, from the device. It touches nothing
 * else: what is not part of the app goes to the network as if it were not there.
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
})

worker.addEventListener('fetch', (event) => {
  const { request } = event
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== worker.location.origin) return
  const page = request.mode === 'navigate' && (url.pathname === '/' || /^\/(i|c|chat)\/[^/]+$/.test(url.pathname))
  if (!page && !FILES.includes(url.pathname)) return
  const file = page ? '/' : url.pathname
  event.respondWith(
    caches
      .open(CACHE)
      .then((cache) => cache.match(file))
      .then((kept) => kept ?? fetch(request)),
  )
})
