// SPDX-License-Identifier: Apache-2.0

import { XmlElement, type Attributes, type Node } from './xml'

/** Reading XML, which only who talks to the server needs: what is written stands in xml.ts. */

/** Limits for what a server may send us; beyond them the frame is refused. */
const MAX_DEPTH = 64
const MAX_FRAME = 2 * 1024 * 1024

export class XmlError extends Error {}

/** Reads one frame: exactly one element, maybe with white space around it. Throws XmlError. */
export function parseXml(source: string): XmlElement {
  if (source.length > MAX_FRAME) throw new XmlError('frame too large')
  return new Parser(source).document()
}

type Scope = { prefixes: Map<string, string>; ns: string; parent: Scope | undefined }

const NAME = /[\p{L}_][\p{L}\p{N}_.\-·]*(?::[\p{L}_][\p{L}\p{N}_.\-·]*)?/uy
const SPACE = /[ \t\r\n]*/y
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', apos: "'", quot: '"' }

class Parser {
  private at = 0

  constructor(private readonly source: string) {}

  document(): XmlElement {
    this.space()
    const root = this.element({ prefixes: new Map([['xml', 'xml']]), ns: '', parent: undefined }, 0)
    this.space()
    if (this.at !== this.source.length) this.fail('more than one element')
    return root
  }

  private element(outer: Scope, depth: number): XmlElement {
    if (depth > MAX_DEPTH) this.fail('nested too deeply')
    this.expect('<')
    const qname = this.name()
    const raw = this.attributes()
    const scope = declare(raw, outer)
    const [name, ns] = this.resolve(qname, scope)
    const children: Node[] = []
    if (this.skip('/>')) return new XmlElement(name, ns, plain(raw), children)
    this.expect('>')
    this.content(children, scope, depth)
    if (this.name() !== qname) this.fail('wrong end tag')
    this.space()
    this.expect('>')
    return new XmlElement(name, ns, plain(raw), children)
  }

  /** Reads up to and including the `</` that ends the element. */
  private content(children: Node[], scope: Scope, depth: number): void {
    let text = ''
    const flush = (): void => {
      if (text !== '') children.push(text)
      text = ''
    }
    for (;;) {
      const next = this.source.indexOf('<', this.at)
      if (next < 0) this.fail('element not closed')
      text += this.unescape(this.source.slice(this.at, next))
      this.at = next
      if (this.skip('</')) return flush()
      if (this.skip('<![CDATA[')) {
        const end = this.source.indexOf(']]>', this.at)
        if (end < 0) this.fail('CDATA not closed')
        text += this.source.slice(this.at, end)
        this.at = end + 3
      } else if (this.source[this.at + 1] === '!' || this.source[this.at + 1] === '?') {
        this.fail('restricted XML')
      } else {
        flush()
        children.push(this.element(scope, depth + 1))
      }
    }
  }

  private attributes(): Map<string, string> {
    const attrs = new Map<string, string>()
    for (;;) {
      const before = this.at
      this.space()
      const c = this.source[this.at]
      if (c === '>' || c === '/') return attrs
      if (before === this.at) this.fail('white space expected')
      const name = this.name()
      this.space()
      this.expect('=')
      this.space()
      const quote = this.source[this.at]
      if (quote !== '"' && quote !== "'") this.fail('quote expected')
      const end = this.source.indexOf(quote as string, this.at + 1)
      if (end < 0) this.fail('attribute not closed')
      const value = this.source.slice(this.at + 1, end)
      if (value.includes('<')) this.fail('< in attribute')
      if (attrs.has(name)) this.fail('attribute twice')
      attrs.set(name, this.unescape(value.replace(/[\t\r\n]/g, ' ')))
      this.at = end + 1
    }
  }

  private resolve(qname: string, scope: Scope): [name: string, ns: string] {
    const colon = qname.indexOf(':')
    if (colon < 0) return [qname, scope.ns]
    const prefix = qname.slice(0, colon)
    for (let s: Scope | undefined = scope; s; s = s.parent) {
      const ns = s.prefixes.get(prefix)
      if (ns !== undefined) return [qname.slice(colon + 1), ns]
    }
    return this.fail('prefix not declared')
  }

  private unescape(s: string): string {
    if (!s.includes('&')) return s
    return s.replace(/&([^;&]*);?/g, (whole, entity: string) => {
      if (!whole.endsWith(';')) this.fail('bad entity')
      const known = ENTITIES[entity]
      if (known !== undefined) return known
      const number = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(entity)
      const code = number ? parseInt(number[1] ?? number[2]!, number[1] ? 16 : 10) : -1
      if (code < 0 || code > 0x10ffff) this.fail('bad entity')
      return String.fromCodePoint(code)
    })
  }

  private name(): string {
    NAME.lastIndex = this.at
    const m = NAME.exec(this.source)
    if (!m) return this.fail('name expected')
    this.at = NAME.lastIndex
    return m[0]
  }

  private space(): void {
    SPACE.lastIndex = this.at
    SPACE.exec(this.source)
    this.at = SPACE.lastIndex
  }

  private skip(token: string): boolean {
    if (!this.source.startsWith(token, this.at)) return false
    this.at += token.length
    return true
  }

  private expect(token: string): void {
    if (!this.skip(token)) this.fail(`${token} expected`)
  }

  private fail(why: string): never {
    throw new XmlError(`${why} at ${this.at}`)
  }
}

function declare(attrs: Map<string, string>, parent: Scope): Scope {
  let prefixes: Map<string, string> | undefined
  for (const [name, value] of attrs) {
    if (name.startsWith('xmlns:')) (prefixes ??= new Map()).set(name.slice(6), value)
  }
  const ns = attrs.get('xmlns')
  if (!prefixes && ns === undefined) return parent
  return { prefixes: prefixes ?? new Map(), ns: ns ?? parent.ns, parent }
}

function plain(attrs: Map<string, string>): Attributes {
  const out: Attributes = Object.create(null) as Attributes
  for (const [name, value] of attrs) if (name !== 'xmlns' && !name.startsWith('xmlns:')) out[name] = value
  return out
}
