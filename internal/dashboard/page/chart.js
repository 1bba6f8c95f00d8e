// SPDX-License-Identifier: Apache-2.0

// A chart of the last 15 minutes: a line for each node, as SVG, and the same as a table.

export const SPAN_MS = 900_000
/** Samples that are farther apart than this are not joined: nobody knows what was between. */
const GAP_MS = 3_500
const WIDTH = 640
const HEIGHT = 180
const LEFT = 58
const BOTTOM = 22
const TOP = 18
const NS = 'http://www.w3.org/2000/svg'

/** An element with attributes and children; texts are texts, never markup. */
export function element(name, attributes = {}, ...children) {
  const e = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) e.setAttribute(key, value)
  e.append(...children.filter((c) => c !== undefined && c !== ''))
  return e
}

function shape(name, attributes, text = '') {
  const e = document.createElementNS(NS, name)
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value)
  e.textContent = text
  return e
}

export const clock = (ms, seconds = true) => new Date(ms).toLocaleTimeString('en-GB', seconds ? {} : { hour: '2-digit', minute: '2-digit' })

/** The least round number that is not below, in steps of a power of the base. */
function ceiling(value, base) {
  let power = 1
  while (power * base <= value) power *= base
  for (const step of base === 1024 ? [1, 2, 4, 10, 20, 40, 100, 200, 400, 1024] : [1, 2, 4, 6, 8, 10]) if (power * step >= value) return power * step
  return value
}

export class Chart {
  #what
  #nodes = []
  #now = 0
  #svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img' })
  #legend = element('ul', { class: 'legend' })
  #when = element('span', { class: 'when' })
  #table = element('table')
  #details
  #at // where somebody points, from 0 to 1

  /**
   * What: title, unit, note, the sample's figure `of` (undefined: there was none), a second one `upTo` that it goes up to, `format`,
   * `least` the top of the scale has, `base` of its steps.
   */
  constructor(what) {
    this.#what = what
    this.#details = element('details', {}, element('summary', {}, `${what.title} as a table`), element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${what.title} as a table` }, this.#table))
    this.#details.addEventListener('toggle', () => this.#tabulate())
    this.root = element('article', { class: 'chart' }, element('h3', {}, what.title, ' ', element('small', {}, what.unit), this.#when), this.#svg, this.#legend, element('p', { class: 'note' }, what.note), this.#details)
    this.#svg.addEventListener('pointermove', (e) => {
      const box = this.#svg.getBoundingClientRect()
      const x = (e.clientX - box.left) / box.width
      this.#at = Math.min(1, Math.max(0, (x * WIDTH - LEFT) / (WIDTH - LEFT)))
      this.#render()
    })
    this.#svg.addEventListener('pointerleave', () => {
      this.#at = undefined
      this.#render()
    })
  }

  /** Draws the nodes' samples, as it is now. */
  draw(nodes, now) {
    this.#nodes = nodes
    this.#now = now
    this.#render()
    if (Math.floor(now / 10_000) !== this.tabulated) this.#tabulate()
  }

  /** The figure that a line follows. */
  #top = (sample) => (this.#what.upTo ?? this.#what.of)(sample)

  #render() {
    const begin = this.#now - SPAN_MS
    let most = 0
    for (const n of this.#nodes) for (const s of n.samples) if (s.at >= begin) most = Math.max(most, this.#top(s) ?? 0)
    const scale = ceiling(Math.max(most, this.#what.least), this.#what.base ?? 10)
    const x = (at) => LEFT + ((at - begin) / SPAN_MS) * (WIDTH - LEFT)
    const y = (value) => HEIGHT - BOTTOM - (value / scale) * (HEIGHT - BOTTOM - TOP)
    const parts = []
    for (const share of [0, 0.5, 1]) {
      parts.push(shape('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: y(scale * share), y2: y(scale * share) }))
      parts.push(shape('text', { class: 'axis', x: LEFT - 8, y: y(scale * share) + 4, 'text-anchor': 'end' }, this.#what.format(scale * share)))
    }
    for (let at = Math.ceil(begin / 300_000) * 300_000; at < this.#now; at += 300_000) {
      const anchor = x(at) < LEFT + 20 ? 'start' : x(at) > WIDTH - 20 ? 'end' : 'middle'
      parts.push(shape('line', { class: 'grid', x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }))
      parts.push(shape('text', { class: 'axis', x: x(at), y: HEIGHT - 5, 'text-anchor': anchor }, clock(at, false)))
    }
    for (const n of this.#nodes) {
      const runs = this.#runs(n.samples, begin)
      if (this.#what.upTo) parts.push(shape('path', { class: `band n${n.colour}`, d: runs.map((run) => band(run, x, y, this.#what)).join('') }))
      parts.push(shape('path', { class: `line n${n.colour}`, d: runs.map((run) => `M${run.map((s) => point(x(s.at), y(this.#top(s)))).join('L')}h0`).join('') }))
    }
    const pointed = this.#at === undefined ? undefined : begin + this.#at * SPAN_MS
    if (pointed) parts.push(shape('line', { class: 'pointer', x1: x(pointed), x2: x(pointed), y1: TOP, y2: HEIGHT - BOTTOM }))
    this.#svg.replaceChildren(...parts)
    this.#tell(pointed)
  }

  /** Parts without a gap. */
  #runs(samples, begin) {
    const runs = []
    let last = -Infinity
    for (const s of samples) {
      if (s.at < begin || this.#top(s) === undefined) continue
      if (s.at - last > GAP_MS) runs.push([])
      runs.at(-1).push(s)
      last = s.at
    }
    return runs
  }

  /** What the figures are, in words: now, or where somebody points. */
  #tell(pointed) {
    this.#when.textContent = pointed ? `at ${clock(pointed)}` : ''
    const rows = this.#nodes.map((n) => {
      const s = pointed ? nearest(n.samples, pointed) : n.answers ? n.samples.at(-1) : undefined
      return [n, s ? this.#say(s) : '–']
    })
    this.#legend.replaceChildren(...rows.map(([n, text]) => element('li', {}, element('i', { class: `n${n.colour}` }), element('span', {}, n.name), element('b', {}, text))))
    if (!pointed) this.#svg.setAttribute('aria-label', `${this.#what.title}, ${this.#what.unit}, the last 15 minutes. Now: ${rows.map(([n, text]) => `${n.name} ${text}`).join(', ')}`)
  }

  #say(s) {
    const { of, upTo, format } = this.#what
    if (of(s) === undefined) return '–'
    return upTo ? `${format(of(s))} / ${format(upTo(s))}` : format(of(s))
  }

  /** The same for who does not see lines: the figure at the end of each minute. */
  #tabulate() {
    if (!this.#details.open) return
    this.tabulated = Math.floor(this.#now / 10_000)
    const head = element('tr', {}, element('th', { scope: 'col' }, 'Time'), ...this.#nodes.map((n) => element('th', { scope: 'col' }, n.name)))
    const rows = []
    for (let at = Math.floor(this.#now / 60_000) * 60_000; at > this.#now - SPAN_MS; at -= 60_000) {
      const cells = this.#nodes.map((n) => nearest(n.samples, at))
      rows.push(element('tr', {}, element('th', { scope: 'row' }, clock(at, false)), ...cells.map((s) => element('td', {}, s ? this.#say(s) : '–'))))
    }
    this.#table.replaceChildren(element('thead', {}, head), element('tbody', {}, ...rows))
  }
}

const point = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`

/** The area from one figure to the other. */
function band(run, x, y, { of, upTo }) {
  const above = run.map((s) => point(x(s.at), y(upTo(s))))
  const below = run.map((s) => point(x(s.at), y(of(s)))).reverse()
  return `M${[...above, ...below].join('L')}Z`
}

/** The sample at that time, if there is one. */
function nearest(samples, at) {
  let low = 0
  let high = samples.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (samples[middle].at < at) low = middle + 1
    else high = middle
  }
  const near = [samples[low - 1], samples[low]].filter(Boolean).sort((a, b) => Math.abs(a.at - at) - Math.abs(b.at - at))[0]
  return near && Math.abs(near.at - at) <= GAP_MS ? near : undefined
}
