// SPDX-License-Identifier: Apache-2.0

/**
 * XML as XMPP uses it (RFC 6120 §11): elements, attributes and text, no
 * document types, no processing instructions, no comments. Built here and read
 * in parse.ts, without a DOM, so that it runs anywhere.
 */

export type Attributes = Record<string, string | undefined>
export type Node = XmlElement | string

export class XmlElement {
  /**
   * @param ns the namespace; undefined takes that of the parent when written
   * @param attrs without xmlns declarations; `xml:lang` keeps its prefix
   */
  constructor(
    readonly name: string,
    readonly ns: string | undefined,
    readonly attrs: Attributes,
    readonly children: Node[],
  ) {}

  is(name: string, ns?: string): boolean {
    return this.name === name && (ns === undefined || this.ns === ns)
  }

  attr(name: string): string | undefined {
    return this.attrs[name]
  }

  elements(): XmlElement[] {
    return this.children.filter((c): c is XmlElement => typeof c !== 'string')
  }

  /** The first child element of that name (and namespace). */
  child(name: string, ns?: string): XmlElement | undefined {
    for (const c of this.children) if (typeof c !== 'string' && c.is(name, ns)) return c
    return undefined
  }

  all(name: string, ns?: string): XmlElement[] {
    return this.elements().filter((c) => c.is(name, ns))
  }

  /** The text directly inside, without that of children. */
  text(): string {
    return this.children.filter((c) => typeof c === 'string').join('')
  }

  /** The text of a child, or undefined without such a child. */
  childText(name: string, ns?: string): string | undefined {
    return this.child(name, ns)?.text()
  }

  toString(parentNs?: string): string {
    let out = '<' + this.name
    if (this.ns !== undefined && this.ns !== parentNs) out += ` xmlns='${escape(this.ns)}'`
    for (const key in this.attrs) {
      const value = this.attrs[key]
      if (value !== undefined) out += ` ${key}='${escape(value)}'`
    }
    if (this.children.length === 0) return out + '/>'
    out += '>'
    const inner = this.ns ?? parentNs
    for (const c of this.children) out += typeof c === 'string' ? escape(c) : c.toString(inner)
    return `${out}</${this.name}>`
  }
}

/** Makes an element; `xmlns` among the attributes gives its namespace, and absent children are left out. */
export function xml(name: string, attrs: Attributes = {}, ...children: (Node | undefined | false)[]): XmlElement {
  const { xmlns, ...rest } = attrs
  return new XmlElement(
    name,
    xmlns,
    rest,
    children.filter((c): c is Node => c !== undefined && c !== false && c !== ''),
  )
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
}

function escape(s: string): string {
  return clean(s).replace(/[&<>'"]/g, (c) => ESCAPES[c]!)
}

// What XML 1.0 §2.2 does not allow: most control characters, unpaired
// surrogates, U+FFFE and U+FFFF.
// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]|\p{Surrogate}/gu

/** The text without characters that XML cannot carry, and with line ends as a receiver will read them. */
export function clean(s: string): string {
  return s.replace(/\r\n?/g, '\n').replace(FORBIDDEN, '')
}
