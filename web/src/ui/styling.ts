// SPDX-License-Identifier: Apache-2.0

import type { Message } from '../store/schema'

/** Elements that texts are drawn with. */
export type Style = 'strong' | 'em' | 's' | 'code' | 'pre' | 'blockquote'

/** A part of a text, or parts that look alike. */
export type Part =
  | {
      text: string
      /** It says how what it stands at looks. */
      mark?: boolean
      href?: string
      /** It names somebody. */
      mention?: boolean
    }
  | { style: Style; within: Part[] }

/** Directives of spans, and how what is between two of them is drawn (XEP-0393 §span @1.1.1). */
const SPANS: Record<string, Style> = { '*': 'strong', _: 'em', '~': 's', '`': 'code' }
/** Quotations in quotations; what is deeper stands in the last. Threat: a screen full of nothing but ">". */
const DEEPEST = 6
const FENCE = '```'
/** XEP-0393 §glossary @1.1.1. */
const SPACE = /[\p{White_Space}\p{Z}]/u
const LINK = /(?<![\p{L}\p{N}])https?:\/\/[^\s<>"]+/giu

interface Leaf {
  from: number
  to: number
  mark?: boolean
  /** It stands as it is, without links. */
  raw?: boolean
}
type Tree = (Leaf | { style: Style; within: Tree })[]

interface Range {
  from: number
  to: number
  href?: string
}

/**
 * Cuts a text into what is drawn alike: Message Styling (XEP-0393 §rules @1.1.1) unless it is to be without, mentions, and links to http and https,
 * without the punctuation that follows them. Together the parts are the text. It takes as long as the text is long, whatever is in it.
 */
export function styled(text: string, how: Pick<Message, 'mentions' | 'unstyled'> = {}): Part[] {
  const tree = how.unstyled ? [{ from: 0, to: text.length }] : new Parser(text).blocks()
  const marks = new Set<number>()
  markedIn(tree, marks)
  return new Cutter(text, rangesOf(text, how.mentions ?? [], marks)).cut(tree)
}

/** The links of a text, each once. */
export function linksIn(text: string, how: Pick<Message, 'mentions' | 'unstyled'> = {}): string[] {
  const found = new Set<string>()
  const walk = (parts: Part[]): void => {
    for (const part of parts) {
      if ('within' in part) walk(part.within)
      else if (part.href !== undefined) found.add(part.href)
    }
  }
  if (text.includes('://')) walk(styled(text, how))
  return [...found]
}

class Parser {
  /** By directive, for each place: where the next stands in that line that may close a span; -1 for nowhere. */
  private closing: Record<string, Int32Array> = {}

  constructor(private readonly text: string) {
    for (const directive of Object.keys(SPANS)) {
      if (!text.includes(directive)) continue
      const next = (this.closing[directive] = new Int32Array(text.length + 1).fill(-1))
      for (let i = text.length - 1, at = -1; i >= 0; i--) {
        if (text[i] === '\n') at = -1
        else if (text[i] === directive && i > 0 && !this.space(i - 1)) at = i
        next[i] = at
      }
    }
  }

  blocks(): Tree {
    const lines: Line[] = []
    for (let from = 0; from < this.text.length; ) {
      const end = this.text.indexOf('\n', from)
      const to = end < 0 ? this.text.length : end + 1
      lines.push({ marks: [], from, to })
      from = to
    }
    return this.within(lines, 0)
  }

  private within(lines: Line[], depth: number): Tree {
    const tree: Tree = []
    for (let i = 0; i < lines.length; ) {
      const first = i
      const line = lines[i]!
      if (depth < DEEPEST && this.text[line.from] === '>') {
        while (i < lines.length && this.text[lines[i]!.from] === '>') i++
        // XEP-0393 §quote @1.1.1: the first whitespace goes with it.
        const inner = lines.slice(first, i).map(({ marks, from, to }) => {
          const after = from + (to > from + 1 && this.text[from + 1] !== '\n' && this.space(from + 1) ? 2 : 1)
          return { marks: [...marks, { from, to: after, mark: true }], from: after, to }
        })
        tree.push({ style: 'blockquote', within: this.within(inner, depth + 1) })
      } else if (this.text.startsWith(FENCE, line.from)) {
        for (i++; i < lines.length && this.said(lines[i]!) !== FENCE; ) i++
        const closed = i < lines.length
        if (closed) i++
        const within = lines.slice(first, i).flatMap(({ marks, from, to }, k): Tree => {
          const fence = k === 0 || (closed && k === i - first - 1)
          return [...marks, { from, to, raw: true, ...(fence && { mark: true }) }]
        })
        tree.push({ style: 'pre', within })
      } else {
        i++
        tree.push(...line.marks)
        const end = line.to - (this.text[line.to - 1] === '\n' ? 1 : 0)
        this.spans(line.from, end, tree)
        if (end < line.to) plain(tree, end, line.to)
      }
    }
    return tree
  }

  private said({ from, to }: Line): string {
    return this.text.slice(from, to).replace(/\r?\n$/, '')
  }

  private spans(from: number, to: number, tree: Tree): void {
    let done = from
    for (let i = from; i < to; ) {
      const end = this.opens(i, from, to) ? this.closing[this.text[i]!]![i + 1]! : -1
      if (end === i + 1) i += 2 // with nothing between them neither counts
      else if (end < 0 || end >= to) i++
      else {
        if (i > done) plain(tree, done, i)
        const style = SPANS[this.text[i]!]!
        const within: Tree = [{ from: i, to: i + 1, mark: true }]
        if (style === 'code') within.push({ from: i + 1, to: end, raw: true })
        else this.spans(i + 1, end, within)
        within.push({ from: end, to: end + 1, mark: true })
        tree.push({ style, within })
        i = done = end + 1
      }
    }
    if (to > done) plain(tree, done, to)
  }

  /** What follows a directive that opens a span is the beginning of that. */
  private opens(i: number, from: number, to: number): boolean {
    return this.text[i]! in this.closing && (i === from || this.space(i - 1)) && i + 1 < to && !this.space(i + 1)
  }

  private space(i: number): boolean {
    return SPACE.test(this.text[i]!)
  }
}

/** A line of a block, and what stands before it for the blocks around that. */
interface Line {
  marks: Leaf[]
  from: number
  to: number
}

function plain(tree: Tree, from: number, to: number): void {
  const last = tree.at(-1)
  if (last && 'from' in last && !last.mark && last.to === from) last.to = to
  else tree.push({ from, to })
}

function markedIn(tree: Tree, marks: Set<number>): void {
  for (const node of tree) {
    if ('within' in node) markedIn(node.within, marks)
    else if (node.mark) marks.add(node.to)
  }
}

/** Where somebody is named, and where links are. */
function rangesOf(text: string, mentions: NonNullable<Message['mentions']>, marks: Set<number>): Range[] {
  const found: Range[] = []
  let at = 0
  let point = 0
  /** From code points to places in the text, onwards. */
  const place = (to: number): number | undefined => {
    let i = at
    for (; point < to; point++) {
      if (i >= text.length) return undefined
      i += text.codePointAt(i)! > 0xffff ? 2 : 1
    }
    return i
  }
  for (const { begin, end } of mentions) {
    if (begin < point || end <= begin) continue
    const before = at
    const from = place(begin)
    if (from === undefined) break
    at = from
    const to = place(end)
    links(text, before, from, marks, found)
    if (to === undefined) break
    found.push({ from, to })
    at = to
  }
  links(text, at, text.length, marks, found)
  return found
}

function links(text: string, begin: number, end: number, marks: Set<number>, found: Range[]): void {
  for (const match of text.slice(begin, end).matchAll(LINK)) {
    const from = begin + match.index
    const to = trimmed(text, from, from + match[0].length, marks)
    const href = text.slice(from, to)
    if (URL.canParse(href)) found.push({ from, to, href })
  }
}

/** Without punctuation, brackets that it did not open, and directives of spans that end there. */
function trimmed(text: string, from: number, to: number, marks: Set<number>): number {
  const opened = text.slice(from, to).includes('(')
  for (; to > from; to--) {
    const last = text[to - 1]!
    if (!marks.has(to) && !(last === ')' && !opened) && !'.,;:!?\'"]}»”’…'.includes(last)) break
  }
  return to
}

/** Cuts at the ends of ranges. Both come in order. */
class Cutter {
  private next = 0

  constructor(
    private readonly text: string,
    private readonly ranges: Range[],
  ) {}

  cut(tree: Tree): Part[] {
    return tree.flatMap((node): Part[] => ('within' in node ? [{ style: node.style, within: this.cut(node.within) }] : this.leaf(node)))
  }

  private leaf({ from, to, mark, raw }: Leaf): Part[] {
    const parts: Part[] = []
    while (from < to) {
      while (this.next < this.ranges.length && this.ranges[this.next]!.to <= from) this.next++
      const range = this.ranges[this.next]
      const inside = range !== undefined && range.from <= from
      const end = range === undefined ? to : Math.min(to, inside ? range.to : range.from)
      const text = this.text.slice(from, end)
      if (mark) parts.push({ text, mark })
      else if (!inside || raw) parts.push({ text })
      else parts.push(range.href === undefined ? { text, mention: true } : { text, href: range.href })
      from = end
    }
    return parts
  }
}
