// SPDX-License-Identifier: Apache-2.0

// The admin page: asks its server once a second how all nodes are, and shows it.

import { Chart, clock, element, SPAN_MS } from './chart.js'

const EVERY_MS = 1_000
const WITHIN_MS = 5_000
const KEY = 'bavard-admin-key'
const at = (id) => document.getElementById(id)

// How things are written.

const number = (n, digits = 0) => n.toLocaleString('en', { maximumFractionDigits: digits })
const count = (n) => (n >= 10_000 ? n.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 1 }) : number(n, n < 10 && n % 1 ? 1 : 0))
const time = (ms) => (ms >= 1_000 ? `${number(ms / 1_000, 1)} s` : `${number(ms, ms < 10 ? 1 : 0)} ms`)
function bytes(n) {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) {
    if (n < 1_000 || unit === 'TiB') return `${number(n, n < 10 ? 1 : 0)} ${unit}`
    n /= 1_024
  }
}
function lasting(ms) {
  const s = Math.max(0, Math.round(ms / 1_000))
  if (s < 60) return `${s} s`
  if (s < 3_600) return `${Math.floor(s / 60)} min`
  if (s < 172_800) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`
  return `${Math.floor(s / 86_400)} days`
}
const since = (ms, now) => `since ${now - ms > 86_400_000 ? new Date(ms).toLocaleString('en-GB') : clock(ms)}, for ${lasting(now - ms)}`

const charts = [
  { title: 'Stored', unit: 'commands a second', note: 'Messages, and whatever else was put on the disks of a majority, by the node that took it.', of: (s) => s.stored, format: count, least: 4 },
  {
    title: 'Time to store',
    unit: 'p50 / p99 of a batch',
    note: 'From appending a batch until it was on the disks of a majority: messages have their tick no sooner.',
    of: (s) => (s.append_p99_ms > 0 ? s.append_p50_ms : undefined),
    upTo: (s) => (s.append_p99_ms > 0 ? s.append_p99_ms : undefined),
    format: time,
    least: 4,
  },
  { title: 'Sessions', unit: 'on each node', note: 'Devices that are logged in, those included that are away for a moment and may resume.', of: (s) => s.sessions, format: count, least: 4 },
  { title: 'View behind the journal', unit: 'batches', note: 'Stored and not yet applied: what is stored arrives when the view has it. Over 100 the node is not ready.', of: (s) => s.lag, format: count, least: 4 },
  { title: 'Waiting', unit: 'commands, deliveries and logins', note: 'What stands in the queues of the node: commands on their way to the journal and the view, deliveries to devices, logins.', of: (s) => s.commands + s.deliveries + s.logins, format: count, least: 4 },
  { title: 'Room on the disk', unit: 'of the data directory', note: 'Near journal.min_free_mib a warning comes; below it nothing new is accepted.', of: (s) => s.disk_free || undefined, format: bytes, least: 1_024, base: 1_024 },
].map((what) => new Chart(what))
at('charts').replaceChildren(...charts.map((c) => c.root))

// What is known.

let key = sessionStorage.getItem(KEY)
let run = ''
let next = 0
let ahead = 0 // of this browser's clock, that of the server
let seen
let failing // since when the server does not answer, by this browser's clock
const samples = new Map()

/** Exchanges the token of a link for a key. The token goes from the address at once, so that it is in no history. */
async function enter() {
  const token = location.hash.slice(1)
  if (!token) return
  history.replaceState(null, '', location.pathname)
  const answer = await fetch('/v1/key', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token }), signal: AbortSignal.timeout(WITHIN_MS) }).catch(() => undefined)
  if (answer?.ok) {
    key = (await answer.json()).key
    sessionStorage.setItem(KEY, key)
  } else if (!key) {
    const text = answer?.status === 401 ? 'This link was opened before, or its five minutes are over: make another one.' : answer ? `The server answers: ${await answer.text()}` : 'The server does not answer: make another link when it does.'
    at('reason').textContent = text
  }
}

function leave(reason) {
  key = null
  sessionStorage.removeItem(KEY)
  at('reason').textContent = reason
}

/** Asks what is new. */
async function ask() {
  const answer = await fetch(`/v1/cell?run=${run}&next=${next}`, { headers: { Authorization: `Bearer ${key}` }, signal: AbortSignal.timeout(WITHIN_MS) })
  if (answer.status === 401 || answer.status === 429) return leave('You were let out: the server was started again since, or nobody looked for 12 hours. Make another link.')
  if (!answer.ok) throw new Error(answer.statusText)
  const now = await answer.json()
  if (now.run !== run) samples.clear()
  ;({ run, next } = now)
  ahead = now.now - Date.now()
  for (const n of now.nodes) {
    const kept = samples.get(n.name) ?? []
    kept.push(...n.samples)
    const first = kept.findIndex((s) => s.at >= now.now - SPAN_MS - 10_000)
    samples.set(n.name, first < 0 ? [] : kept.slice(first))
  }
  seen = now
  failing = undefined
}

// What is shown.

/** In words, and by shape and colour: how a node is. */
function state(n, now) {
  if (n.absent) return { mark: '○', kind: 'soft', text: 'not in the cell', more: 'It was not let in yet, or was taken out.' }
  if (n.state === 'silent') {
    const reached = n.reached ? ' The journal reaches it: it is starting, or busy.' : ''
    return { mark: '✕', kind: 'bad', text: 'does not answer', more: (n.heard ? since(n.heard, now) : `not since this page is kept, ${clock(seen.started)}`) + '.' + reached }
  }
  if (n.state === 'older') return { mark: '?', kind: 'soft', text: 'does not say', more: `Bavard ${n.version || 'there'} does not tell its figures: they come with the new version.` }
  if (n.diverged) return { mark: '▲', kind: 'bad', text: 'differs', more: 'Its view differs from those of the other nodes: it takes nobody.' }
  if (n.drained) return { mark: '◐', kind: 'warn', text: 'drained', more: 'It takes nobody: its people are on the other nodes.' }
  if (n.learner) return { mark: '◐', kind: 'warn', text: 'learner', more: 'It takes part anew, and has no vote yet.' }
  if (n.about.failing.length > 0) return { mark: '▲', kind: 'bad', text: 'not ready', more: n.about.failing.join('; ') }
  return { mark: '●', kind: 'good', text: 'ready' }
}

function card(n, now) {
  const is = state(n, now)
  const last = samples.get(n.name)?.at(-1)
  const line = (what, value) => element('div', {}, element('dt', {}, what), element('dd', {}, value))
  const facts = []
  if (n.about && last) {
    facts.push(
      line('Sessions', count(last.sessions)),
      line('Stored', `${count(last.stored)} a second`),
      line('Applied', `${number(n.about.applied)} of ${number(n.about.latest)}`),
      line('Room on the disk', bytes(last.disk_free)),
      line('Journal', bytes(n.about.journal)),
      line('View', bytes(n.about.view)),
    )
    if (n.state === 'answers') facts.push(line('Running for', lasting(now - n.about.started)))
  }
  const version = n.about?.version ?? n.version
  const badges = [n.leads && 'leads', n.self && 'serves this page'].filter(Boolean)
  const root = element(
    'article',
    { class: `node ${is.kind}`, 'data-node': n.name, 'data-state': is.text },
    element('h3', {}, element('i', { class: `n${n.colour}` }), `Node ${n.name}`, ...badges.map((b) => element('span', { class: 'badge' }, b))),
    element('p', { class: 'state' }, element('span', { 'aria-hidden': 'true' }, is.mark), ` ${is.text}`),
  )
  if (is.more) root.append(element('p', { class: 'more' }, is.more))
  if (n.state === 'silent' && facts.length > 0) root.append(element('p', { class: 'more' }, `As it was at ${clock(n.heard)}:`))
  root.append(element('dl', { class: n.state === 'answers' ? undefined : 'past' }, ...facts))
  root.append(element('p', { class: 'where' }, [version && `bavard ${version}`, n.about && `level ${n.about.level}`, n.address].filter(Boolean).join(' · ')))
  return root
}

/** The warnings of all nodes that answer, those together that say the same. */
function warnings(now) {
  const all = new Map()
  for (const n of seen.nodes) {
    for (const w of n.state === 'answers' ? n.about.warnings : []) {
      const same = all.get(w.id + w.detail) ?? { ...w, nodes: [], from: Infinity }
      same.nodes.push(n.name)
      same.from = Math.min(same.from, Date.parse(w.since))
      all.set(w.id + w.detail, same)
    }
  }
  const sorted = [...all.values()].sort((a, b) => a.severity.localeCompare(b.severity) || a.id.localeCompare(b.id))
  return sorted.map((w) =>
    element(
      'li',
      { class: w.severity },
      element('p', {}, element('b', {}, `${w.severity === 'error' ? '✕ Error' : '▲ Warning'}: `), w.text, w.detail ? ` (${w.detail})` : ''),
      element('p', {}, `${w.hint[0].toUpperCase()}${w.hint.slice(1)}.`),
      element('p', { class: 'where' }, element('code', {}, w.id), ` · ${seen.nodes.length > 1 ? `said by ${w.nodes.join(', ')} · ` : ''}${since(w.from, now)}`),
    ),
  )
}

function summary() {
  const { nodes } = seen
  const well = nodes.filter((n) => n.state === 'answers' && n.about.failing.length === 0).length
  const leader = nodes.find((n) => n.leads)?.name
  const knows = nodes.some((n) => n.state === 'answers' && n.about.leader)
  if (nodes.length === 1) return well ? 'The server is ready' : 'The server is not ready'
  return `${well} of ${nodes.length} nodes ready, ${leader ? `${leader} leads` : knows ? 'etcd elsewhere' : 'none leads'}`
}

/** Puts in what has changed alone, so that nothing is read out again, and nobody's selection goes. */
function put(parent, children) {
  children.forEach((child, i) => {
    const old = parent.children[i]
    if (!old) parent.append(child)
    else if (!old.isEqualNode(child)) old.replaceWith(child)
  })
  while (parent.children.length > children.length) parent.lastElementChild.remove()
}

function say(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text
}

function show() {
  at('closed').hidden = Boolean(key)
  at('open').hidden = !key || !seen
  document.body.classList.toggle('stale', Boolean(failing))
  at('trouble').hidden = !failing || !key
  if (!key) return say('summary', '')
  if (failing) say('trouble', `The server that serves this page does not answer, since ${clock(failing)}. It is asked again every second; below is what was so then.`)
  if (!seen) return
  const now = Date.now() + ahead
  seen.nodes.forEach((n, i) => (n.colour = i % 7))
  say('domain', seen.domain)
  say('summary', failing ? 'Not connected' : summary())
  document.title = `${failing ? '✕ ' : ''}${seen.domain}: bavard`
  const told = warnings(now)
  put(at('warnings'), told.length > 0 ? told : [element('li', { class: 'none' }, 'There are none.')])
  put(at('nodes'), seen.nodes.map((n) => card(n, now)))
  const lines = seen.nodes.map((n) => ({ name: n.name, colour: n.colour, answers: n.state === 'answers' && !failing, samples: samples.get(n.name) ?? [] }))
  for (const c of charts) c.draw(lines, now)
}

async function live() {
  for (;;) {
    if (key) {
      try {
        await ask()
      } catch {
        failing ??= Date.now()
      }
    }
    show()
    await new Promise((done) => setTimeout(done, EVERY_MS))
  }
}

// A link that is opened in a tab of this page changes the fragment alone.
addEventListener('hashchange', () => enter().then(show))
await enter()
await live()
