// SPDX-License-Identifier: Apache-2.0

// Notifications. Headless Chromium subscribes at no push service, so the page is given one that keeps what it is asked;
// that the server posts to it, encrypted, is shown by internal/webpush. What comes is handed to the service worker as the
// browser would.

import { audit } from './access.mjs'
import { check, inStore, meta, picture, until } from './harness.mjs'

/** In the page, before it runs: a browser with a push service that takes everybody. */
function subscribing() {
  let kept = JSON.parse(localStorage.getItem('test push') ?? 'null')
  const give = (value) => {
    kept = value
    localStorage.setItem('test push', JSON.stringify(value))
  }
  const subscription = () => kept && { toJSON: () => kept, unsubscribe: async () => (give(null), true) }
  const b64 = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
  PushManager.prototype.getSubscription = async () => subscription()
  PushManager.prototype.subscribe = async ({ applicationServerKey: key }) => {
    if (key.length !== 65 || key[0] !== 4) throw new Error('no key of a server')
    const { publicKey } = await crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits'])
    const p256dh = b64(await crypto.subtle.exportKey('raw', publicKey))
    give({ endpoint: 'https://push.example.com/' + Math.random(), keys: { p256dh, auth: b64(crypto.getRandomValues(new Uint8Array(16))) } })
    return subscription()
  }
}

const registration = (page) => meta(page, 'notify')

const notifications = (page) =>
  page.evaluate(async () => {
    const all = await (await navigator.serviceWorker.ready).getNotifications()
    return all.map((n) => ({ title: n.title, body: n.body, tag: n.tag }))
  })

/** Hands the service worker what a push service would. */
async function deliver(person, page, data) {
  const cdp = await person.context.newCDPSession(page)
  const found = new Promise((done) => cdp.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => registrations.length > 0 && done(registrations[0].registrationId)))
  await cdp.send('ServiceWorker.enable')
  const registrationId = await found
  await cdp.send('ServiceWorker.deliverPushMessage', { origin: person.origin, registrationId, data })
  await cdp.detach()
}

const note = (tag, kind = 'message') => JSON.stringify({ kind, tag, v: 1 })

/** Only the whole browser has notifications. */
export const whole = true

export default {
  async 'notifications are turned on and off, and end with logging out'(world) {
    const [anna, ben] = await world.friends('Anna', 'Ben')
    await anna.context.grantPermissions(['notifications'], { origin: anna.origin })
    await anna.context.addInitScript(subscribing)
    await anna.page.goto(anna.origin + '/?me')
    const on = anna.page.getByRole('switch', { name: 'Notifications' })
    await until('the switch', () => on.isEnabled())
    await on.check()
    const first = await until('the server knows it', async () => (await registration(anna.page))?.node)
    await audit(anna.page, 'notifications turned on')
    await picture(anna.page, 'notices-on')

    // With the next start the server is told again; it takes the same endpoint for the same.
    await anna.page.reload()
    await until('still on', () => on.isChecked())
    await until('told again', async () => (await registration(anna.page)).node !== undefined)
    await on.uncheck()
    await until('off', async () => (await registration(anna.page)).node === undefined)
    await on.check()
    await until('another', async () => ![first, undefined].includes((await registration(anna.page)).node))
    await anna.page.getByRole('button', { name: 'Log out' }).click()
    await anna.page.getByRole('button', { name: 'Log out and delete' }).click()
    await anna.page.getByRole('button', { name: 'Log in' }).waitFor()
    check((await anna.page.evaluate(() => localStorage.getItem('test push'))) === 'null', 'the browser is unsubscribed')
    await ben.close()
  },

  async 'a browser that forbids notifications is said to'(world) {
    const [anna] = await world.friends('Anna', 'Ben')
    await anna.context.addInitScript(() => Object.defineProperty(Notification, 'permission', { get: () => 'denied' }))
    await anna.page.goto(anna.origin + '/?me')
    await anna.page.getByText('This browser blocks notifications').waitFor()
    check(await anna.page.getByRole('switch', { name: 'Notifications' }).isDisabled(), 'nothing to turn on')
    await picture(anna.page, 'notices-blocked')
  },

  async 'the worker tells who wrote what while a page has it, else only that something came; the chat opens from it'(world) {
    const [anna, ben] = await world.friends('Anna', 'Ben')
    await anna.context.grantPermissions(['notifications'], { origin: anna.origin })
    await ben.open('Anna')
    await ben.write('are you there?')
    await anna.page.locator('nav a', { hasText: 'are you there?' }).waitFor()
    await until('the title', async () => (await anna.page.title()).startsWith('(1)'))
    // Nobody looks at the app: another page is in front.
    await anna.page.evaluate(() => navigator.serviceWorker.ready)
    const cdp = await anna.context.newCDPSession(anna.page)
    await cdp.send('Emulation.setFocusEmulationEnabled', { enabled: false })
    const other = await anna.context.newPage()
    await other.bringToFront()
    // The browser learns a little later than the page that nobody looks; until then nothing is shown.
    await until('nobody to look', () => anna.page.evaluate(() => !document.hasFocus()))
    const shown = await until('a notification', async () => {
      await deliver(anna, anna.page, note('one'))
      return until('it', async () => (await notifications(anna.page)).find((n) => n.title !== 'bavard'), 5_000).catch(() => undefined)
    })
    check(shown.title === 'Ben' && shown.body === 'are you there?', JSON.stringify(shown))
    const second = await until('another, of which nothing is known', async () => {
      await deliver(anna, anna.page, note('two'))
      return until('it', async () => (await notifications(anna.page)).find((n) => n.tag === 'two'), 5_000).catch(() => undefined)
    })
    check(second.title === 'bavard' && second.body === 'New message', JSON.stringify(second))
    for (const [kind, says] of [
      ['call', 'Incoming call'],
      ['ended', 'The call is over'], // in its place
      ['request', 'Somebody asks to be your contact'],
    ]) {
      await until(says, async () => {
        await deliver(anna, anna.page, note(kind === 'request' ? 'four' : 'three', kind))
        return until(says, async () => (await notifications(anna.page)).some((n) => n.body === says), 5_000).catch(() => false)
      })
    }
    check(!(await notifications(anna.page)).some((n) => n.body === 'Incoming call'), 'a call that is over is still said to come in')

    // The event that a click makes, in the worker itself. Nobody clicked: the browser does not let it bring the page to the front.
    const [worker] = anna.context.serviceWorkers()
    const click = () =>
      worker.evaluate(async () => {
        const notification = (await globalThis.registration.getNotifications()).find((n) => n.data?.peer)
        const event = new NotificationEvent('notificationclick', { notification })
        event.waitUntil = (work) => work.catch(() => undefined)
        globalThis.dispatchEvent(event)
        return notification.data
      })
    const data = await click()
    await until('the chat that was clicked', () => anna.page.url().includes('/chat/'))
    check((await anna.context.pages()).filter((p) => p.url().startsWith(anna.origin)).length === 1, 'the window that was open shows it')
    check(!(await notifications(anna.page)).some((n) => n.title === 'Ben'), 'what was clicked is still shown')

    // Of several windows it is the one that shows the chat already.
    const list = await anna.tab('/')
    await list.locator('nav a', { hasText: 'Ben' }).waitFor()
    await anna.page.evaluate(() => navigator.serviceWorker.addEventListener('message', (e) => (globalThis.told = e.data.open)))
    await worker.evaluate((data) => globalThis.registration.showNotification('Ben', { data }), data)
    await click()
    await until('the window with the chat to be told', () => anna.page.evaluate((peer) => globalThis.told === peer, data.peer))
    check(!list.url().includes('/chat/'), 'another window was taken')
    await list.close()

    // As the worker opens the app from either.
    const opened = await anna.tab('/?unread')
    await until('the chat that is unread', () => opened.url().includes('/chat/'))
    await opened.close()
    await anna.page.bringToFront()
    await anna.page.evaluate((open) => navigator.serviceWorker.dispatchEvent(new MessageEvent('message', { data: { open } })), await anna.page.locator('nav a').first().getAttribute('href').then((h) => decodeURIComponent(h.split('/').at(-1))))
    await anna.page.getByRole('textbox', { name: 'Message Ben' }).waitFor()
    await until('what was read is not notified of any more', async () => (await notifications(anna.page)).length === 0)
    await until('the title', async () => !(await anna.page.title()).startsWith('('))
  },

  async 'a new message is heard, if the person wants that, not in a muted chat, and not in the one that is looked at'(world) {
    const [anna, ben, cleo] = await world.friends('Anna', 'Ben', 'Cleo')
    // What is played is real; it is counted, too.
    await anna.context.addInitScript(() => {
      globalThis.heard = 0
      const start = OscillatorNode.prototype.start
      OscillatorNode.prototype.start = function (...at) {
        if (this.frequency.value < 700 && this.context.state === 'running') globalThis.heard++
        return start.apply(this, at)
      }
    })
    const heard = () => anna.page.evaluate(() => globalThis.heard)
    await anna.page.goto(anna.origin + '/')
    await ben.open('Anna')
    await cleo.open('Anna')
    await anna.page.getByRole('link', { name: 'You', exact: true }).click()
    const sounds = anna.page.getByRole('switch', { name: 'Sounds' })
    check(!(await sounds.isChecked()), 'it is off at first')
    await ben.write('nobody hears this')
    await until('it', async () => (await anna.page.title()).startsWith('(1)'))
    check((await heard()) === 0, 'nothing is heard unasked')
    await sounds.check()
    await until('what it sounds like', async () => (await heard()) === 1)
    await audit(anna.page, 'sounds turned on')
    const quiet = () => until('the sound to be over', () => anna.page.evaluate(async () => (await navigator.locks.query()).held.every((l) => l.name !== 'bavard sound')))
    await quiet()
    await ben.write('somebody hears this')
    await until('it', async () => (await heard()) === 2)
    await quiet()

    await anna.page.goto(anna.origin + '/')
    await anna.open('Ben')
    await ben.write('you look at this')
    await anna.page.locator('[role=log] .bubble', { hasText: 'you look at this' }).waitFor()
    await anna.page.locator('nav a', { hasText: 'Cleo' }).click({ button: 'right' })
    await anna.page.getByRole('button', { name: 'Mute…' }).click()
    await anna.page.getByRole('button', { name: 'Mute for ever' }).click()
    await anna.page.locator('nav a', { hasText: 'Cleo' }).getByLabel('muted').waitFor()
    await cleo.write('nobody hears this either')
    await anna.page.locator('nav a', { hasText: 'nobody hears this either' }).waitFor()
    check((await heard()) === 0, 'the chat that is looked at, or one that is muted, was heard')
    await anna.page.getByRole('link', { name: 'You', exact: true }).click()
    check(await sounds.isChecked(), 'the device remembers')
  },

  async 'a device that another one logs out is notified of nothing more, and keeps no files that the server has'(world) {
    const [anna, ben] = await world.friends('Anna', 'Ben')
    await anna.context.grantPermissions(['notifications'], { origin: anna.origin })
    await anna.context.addInitScript(subscribing)
    await anna.page.goto(anna.origin + '/?me')
    const on = anna.page.getByRole('switch', { name: 'Notifications' })
    await until('the switch', () => on.isEnabled())
    await on.check()
    await until('the server knows it', async () => (await registration(anna.page))?.node)
    await inStore(anna.page, async (db) => {
      const tx = db.transaction('files', 'readwrite')
      const data = new Blob(['a picture'])
      tx.objectStore('files').put({ key: 1e6, data, size: data.size, used: Date.now() })
      tx.objectStore('files').put({ key: 2e6, data, size: data.size }) // waits to be sent
      await new Promise((done) => (tx.oncomplete = done))
    })
    await anna.page.goto(anna.origin + '/?devices')
    await anna.page.getByRole('button', { name: 'Link a device' }).click()
    const phone = await world.person('Anna')
    phone.page = await phone.tab('')
    await phone.page.goto(await anna.page.locator('output').innerText())
    await phone.page.getByRole('button', { name: 'Link this device' }).click()
    await phone.page.locator('nav a', { hasText: 'Ben' }).waitFor()
    await phone.page.goto(phone.origin + '/?devices')
    await phone.page.getByRole('listitem').nth(1).getByRole('button').click()
    await phone.page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click()
    // It knows the password, which is changed.
    await phone.page.getByText('This device knows the password').waitFor()
    await phone.page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click()
    await anna.page.getByRole('heading', { name: 'This device was logged out' }).waitFor()
    await until('it to be forgotten', async () => !(await registration(anna.page)).on)
    check((await anna.page.evaluate(() => localStorage.getItem('test push'))) === 'null', 'the browser is unsubscribed')
    const files = await inStore(anna.page, (db, result) => result(db.transaction('files').objectStore('files').getAllKeys()))
    check(files.join() === '2000000', `files are left: ${files}`)
    await ben.close()
  },
}
