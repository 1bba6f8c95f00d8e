// SPDX-License-Identifier: Apache-2.0

// What the browser tests stand on: a real server of their own, real browsers,
// and people who use the app as people do.

import { spawn, execFileSync } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

export const web = resolve(dirname(fileURLToPath(import.meta.url)), '..')
export const binary = resolve(process.env.BAVARD_BIN ?? process.env.BAVARD ?? join(web, '../bin/bavard'))
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
/** The same without windows of its own, where there is one: pages take half the time. It has no notifications. */
const SHELL = process.env.CHROMIUM ?? ['/usr/bin/chromium-headless-shell', CHROMIUM].find(existsSync) ?? CHROMIUM
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // A microphone that beeps, for who is asked for it.
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
]

/** How long anything may take on a busy machine; what is too slow for people is the budgets' to find. */
export const PATIENCE = 60_000

export async function until(what, test, ms = PATIENCE) {
  const end = Date.now() + ms
  for (;;) {
    const value = await test()
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`)
    await new Promise((done) => setTimeout(done, 20))
  }
}

export function check(ok, what) {
  if (!ok) throw new Error(what)
}

/** A server with data of its own, which can be killed and started again on the same ports. */
export class Server {
  data = mkdtempSync(join(tmpdir(), 'bavard-e2e-'))
  addresses = { c2s: '127.0.0.1:0', http: '127.0.0.1:0' }
  #process
  #log = ''
  #flags = []
  #running = false

  /** It is not started yet. */
  constructor(...flags) {
    this.#flags = flags
  }

  static async start(...flags) {
    check(existsSync(binary), `no server at ${binary}: build it, or name it in BAVARD_BIN`)
    const server = new Server(...flags)
    await server.start()
    return server
  }

  async start() {
    rmSync(join(this.data, 'addresses.json'), { force: true })
    const { c2s, http } = this.addresses
    const args = ['serve', '--data', this.data, '--c2s', c2s, '--c2s-tls', '', '--http', http, '--insecure-loopback', ...this.#flags]
    this.#process = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const out of [this.#process.stdout, this.#process.stderr]) out.on('data', (d) => (this.#log += d))
    this.#running = true
    this.gone = new Promise((done) =>
      this.#process.once('exit', () => {
        this.#running = false
        done()
      }),
    )
    await until(`the server to start:\n${this.#log}`, () => existsSync(join(this.data, 'addresses.json')))
    this.addresses = JSON.parse(readFileSync(join(this.data, 'addresses.json'), 'utf8'))
    this.origin = 'http://localhost:' + this.addresses.http.split(':').at(-1)
    await until('the server to be ready', () => fetch(this.origin + '/readyz').then((r) => r.ok, () => false))
  }

  async kill() {
    this.#process.kill('SIGKILL')
    await this.gone
  }

  /** Stops it as an operator would. */
  async stop() {
    this.#process.kill('SIGTERM')
    await this.gone
  }

  async close() {
    this.#process.kill('SIGTERM')
    await this.gone
    rmSync(this.data, { recursive: true, force: true })
  }

  get running() {
    return this.#running
  }

  get log() {
    return this.#log
  }

  /** Makes an account for another client. */
  user(name, password) {
    execFileSync(binary, ['user', 'add', name, '--data', this.data, '--password-stdin'], { input: password + '\n', stdio: ['pipe', 'ignore', 'inherit'] })
  }

  /** Makes many accounts; nobody knows their passwords. */
  usersNamed(names) {
    const input = names.map((name) => `${name}\t${crypto.randomUUID()}\n`).join('')
    execFileSync(binary, ['user', 'import', '-', '--data', this.data], { input, stdio: ['pipe', 'ignore', 'pipe'] })
  }

  /** Keeps its state in a directory; it goes on. */
  backup(store) {
    execFileSync(binary, ['backup', store, '--data', this.data], { stdio: ['ignore', 'ignore', 'inherit'] })
  }

  /** It was killed, and has lost all that it had: it begins again with what was kept. */
  async restore(store) {
    rmSync(this.data, { recursive: true, force: true })
    this.data = mkdtempSync(join(tmpdir(), 'bavard-e2e-'))
    execFileSync(binary, ['restore', store, '--data', this.data], { stdio: ['ignore', 'ignore', 'inherit'] })
    await this.start()
  }

  /** What people have reported, the newest first. */
  reports() {
    const out = execFileSync(binary, ['user', 'reports', '--data', this.data, '--json'], { encoding: 'utf8' })
    return out.split('\n').filter(Boolean).map((line) => JSON.parse(line))
  }

  /** The addresses of all accounts. */
  users() {
    const out = execFileSync(binary, ['user', 'list', '--data', this.data, '--json'], { encoding: 'utf8' })
    return out.split('\n').filter(Boolean).map((line) => JSON.parse(line).address)
  }

  /** Paths of invites; people who come with invites of one circle know each other. */
  invites(count, circle = `circle ${Math.random()}`) {
    const args = ['invite', '--data', this.data, '--count', String(count), '--circle', circle, '--json']
    return JSON.parse(execFileSync(binary, args, { encoding: 'utf8' })).map((i) => '/i/' + i.token)
  }
}

/** A network between browsers and the server that can be cut, or go silent. */
export class Network {
  #pairs = new Set()

  /** So many milliseconds each way, of a network made with `slowing`. */
  delay = 0

  static async to(server, { slowing = false } = {}) {
    const network = new Network()
    const slowly = (from, to) => from.on('data', (d) => setTimeout(() => to.destroyed || to.write(d), network.delay))
    const [host, port] = server.addresses.http.split(':')
    network.listener = createServer((near) => {
      const far = connect(Number(port), host)
      const pair = { near, far }
      network.#pairs.add(pair)
      if (slowing) {
        slowly(near, far)
        slowly(far, near)
      } else near.pipe(far).pipe(near)
      for (const socket of [near, far]) {
        socket.on('error', () => undefined)
        socket.on('close', () => {
          near.destroy()
          far.destroy()
          network.#pairs.delete(pair)
        })
      }
    })
    await new Promise((done) => network.listener.listen(0, '127.0.0.1', done))
    network.origin = `http://localhost:${network.listener.address().port}`
    return network
  }

  /** Breaks every connection; new ones work. */
  cut() {
    for (const { near } of this.#pairs) near.destroy()
  }

  /** Every connection stays open but carries nothing any more; new ones work. */
  silence() {
    for (const { near, far } of this.#pairs) {
      near.unpipe(far)
      far.unpipe(near)
      near.resume()
      far.resume()
    }
  }

  close() {
    this.listener.close()
    this.cut()
  }
}

/** A browser profile of somebody; its pages are tabs. */
export class Person {
  #context
  errors = []

  constructor(origin, name, context) {
    this.origin = origin
    this.name = name
    this.#context = context
  }

  get context() {
    return this.#context
  }

  async tab(path = '/') {
    const page = await this.#context.newPage()
    page.on('pageerror', (e) => this.errors.push(`${this.name}: ${e}\n${e.stack}`))
    page.on('console', (m) => {
      const known = /net::ERR_|WebSocket connection|Failed to load resource/.test(m.text())
      if (m.type() === 'error' && !known) this.errors.push(`${this.name}: ${m.text()}`)
    })
    if (path) await page.goto(this.origin + path)
    return page
  }

  /** Opens an invite and gives a name. */
  async join(invite) {
    const page = await this.tab(invite)
    await page.getByLabel('Your name').fill(this.name)
    await page.getByRole('button', { name: 'Start chatting' }).click()
    await page.getByRole('heading', { name: 'bavard', exact: true }).waitFor()
    this.page = page
    return page
  }

  /** Opens the conversation with somebody from the list. */
  async open(name, page = this.page) {
    await page.locator('nav a', { hasText: name }).click()
    await page.getByRole('textbox', { name: /^Message / }).waitFor()
  }

  async write(text, page = this.page) {
    const area = page.getByRole('textbox', { name: /^Message / })
    await area.fill(text)
    await area.press('Enter')
  }

  /** Waits until the app is on the device as a whole: from then on it opens and shows everything without the server. */
  async installed(page = this.page) {
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
  }

  /** Makes a password for another program, and gives it. */
  async newPassword(page = this.page) {
    await page.goto(this.origin + '/?me')
    await page.getByRole('button', { name: 'Password for other apps' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Make a password' }).click()
    await dialog.locator('output').nth(1).waitFor()
    const [address, password] = await dialog.locator('output').allInnerTexts()
    await dialog.getByRole('button', { name: 'Close' }).click()
    return { address, password }
  }

  /** Logs in with an account that there is. */
  async logIn({ address, password }) {
    const page = (this.page = await this.tab('/'))
    await page.getByLabel('Address').fill(address)
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('heading', { name: 'bavard', exact: true }).waitFor()
    return page
  }

  async close() {
    await this.#context.close()
  }
}

/** A browser; with more flags, those count that come last. */
export const browser = (whole, ...flags) => chromium.launch({ executablePath: whole ? CHROMIUM : SHELL, args: [...FLAGS, ...flags] })

export class World {
  people = []

  /** Whole says that it takes the browser as people have it. */
  static async make({ whole = false } = {}) {
    const world = new World()
    world.server = await Server.start()
    world.browser = await browser(whole)
    return world
  }

  async person(name, options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1180, height: 760 }, locale: 'en-GB', ...options })
    context.setDefaultTimeout(Number(process.env.BAVARD_E2E_TIMEOUT ?? PATIENCE))
    const person = new Person(this.origin ?? this.server.origin, name, context)
    this.people.push(person)
    return person
  }

  /** Somebody whose profile is on the disk: another browser can be started with it once this one is closed. */
  async resident(name, profile) {
    const options = { executablePath: SHELL, args: FLAGS, viewport: { width: 1180, height: 760 }, locale: 'en-GB' }
    const context = await chromium.launchPersistentContext(profile, options)
    context.setDefaultTimeout(Number(process.env.BAVARD_E2E_TIMEOUT ?? PATIENCE))
    const person = new Person(this.origin ?? this.server.origin, name, context)
    this.people.push(person)
    return person
  }

  /** People who are each other's contacts, each on the list of chats. */
  async friends(...names) {
    const invites = this.server.invites(names.length)
    const people = []
    for (const [i, name] of names.entries()) {
      const person = await this.person(name)
      await person.join(invites[i])
      people.push(person)
    }
    for (const p of people) for (const q of people) if (p !== q) await p.page.locator('nav a', { hasText: q.name }).waitFor()
    return people
  }

  /** Nothing may have been thrown or logged as an error on any page. */
  noErrors() {
    const errors = this.people.flatMap((p) => p.errors)
    check(errors.length === 0, `errors on pages:\n${errors.join('\n')}`)
  }

  async close() {
    await this.browser.close()
    await this.server.close()
  }
}

/** The texts of the conversation on screen, ours with "> " before them. */
export const shown = (page) =>
  page.locator('[role=log] .bubble').evaluateAll((all) =>
    all.map((b) => {
      const body = b.querySelector('.body').cloneNode(true)
      body.querySelector('.meta')?.remove()
      return (b.parentElement.classList.contains('out') ? '> ' : '') + body.textContent
    }),
  )

/**
 * What work gives, which is done in the page with the app's store: it has the database, a function that waits for a request's
 * result, and an argument. It is handed on as text, and sees nothing else of ours.
 */
export const inStore = (page, work, argument) =>
  page.evaluate(`(async () => {
    const result = (request) => new Promise((done) => (request.onsuccess = () => done(request.result)))
    const db = await result(indexedDB.open('bavard'))
    try {
      return await (${work})(db, result, ${JSON.stringify(argument)})
    } finally {
      db.close()
    }
  })()`)

/** What the app keeps under that name. */
export const meta = (page, key) => inStore(page, (db, result, key) => result(db.transaction('meta').objectStore('meta').get(key)), key)

/** Writes so many messages in the open chat as fast as the app takes them: "message 0" and so on. */
export const burst = (page, count) =>
  page.evaluate(async (count) => {
    const area = document.querySelector('textarea')
    for (let i = 0; i < count; i++) {
      area.value = `message ${i}`
      area.dispatchEvent(new Event('input', { bubbles: true }))
      area.form.requestSubmit()
      if (i % 25 === 24) await new Promise((done) => setTimeout(done, 20))
    }
  }, count)

/** How often each text is stored on the device, whatever is on screen. */
export const stored = (page) =>
  inStore(page, async (db, result) => {
    const all = await result(db.transaction('messages').objectStore('messages').index('pos').getAll())
    return all.map((m) => ({ body: m.body, out: m.out, tick: m.tick, peer: m.peer }))
  })

/** Keeps a picture when BAVARD_PICTURES names a directory. */
export async function picture(page, name) {
  const directory = process.env.BAVARD_PICTURES
  if (!directory) return
  mkdirSync(directory, { recursive: true })
  await page.screenshot({ path: join(directory, `${name}.png`) })
}
