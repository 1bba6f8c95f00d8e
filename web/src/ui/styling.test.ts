// SPDX-License-Identifier: Apache-2.0

import { describe, expect, it } from 'vitest'
import { linksIn, styled, type Part } from './styling'

const NAMES = { strong: 'b', em: 'i', s: 's', code: 'c', pre: 'pre', blockquote: 'q' }

/** What is drawn, as one writes it down: elements as tags, directives in braces, links and mentions in brackets. */
function drawn(parts: Part[]): string {
  return parts
    .map((p) => {
      if ('within' in p) return `<${NAMES[p.style]}>${drawn(p.within)}</${NAMES[p.style]}>`
      if (p.mark) return `{${p.text}}`
      return p.href !== undefined ? `[${p.text}]` : p.mention ? `[@${p.text}]` : p.text
    })
    .join('')
}

function text(parts: Part[]): string {
  return parts.map((p) => ('within' in p ? text(p.within) : p.text)).join('')
}

describe('styled texts', () => {
  // The examples of XEP-0393 §rules @1.1.1, all of them.
  it.each([
    ['plain span', 'plain span'],
    ['*strong span*', '<b>{*}strong span{*}</b>'],
    ['plain _emphasis_ plain', 'plain <i>{_}emphasis{_}</i> plain'],
    ['`pre` plain *strong*', '<c>{`}pre{`}</c> plain <b>{*}strong{*}</b>'],
    ['*strong*plain*', '<b>{*}strong{*}</b>plain*'],
    ['* plain *strong*', '* plain <b>{*}strong{*}</b>'],
    ['not strong*', 'not strong*'],
    ['*not strong', '*not strong'],
    ['*not \n strong*', '*not \n strong*'],
    ['*not *strong', '*not *strong'],
    ['**', '**'],
    ['***', '***'],
    ['****', '****'],
    ['Two spans, both *alike in dignity*', 'Two spans, both <b>{*}alike in dignity{*}</b>'],
    ['The full title is _Twelfth Night, or What You Will_ but\n_most_ people shorten it.', 'The full title is <i>{_}Twelfth Night, or What You Will{_}</i> but\n<i>{_}most{_}</i> people shorten it.'],
    ['"Twelfth Night, or What You Will" but\n*most* people', '"Twelfth Night, or What You Will" but\n<b>{*}most{*}</b> people'],
    ['Everyone ~dis~likes cake.', 'Everyone <s>{~}dis{~}</s>likes cake.'],
    ['This is `*monospace*`', 'This is <c>{`}*monospace*{`}</c>'],
    ['This is *`monospace and bold`*', 'This is <b>{*}<c>{`}monospace and bold{`}</c>{*}</b>'],
    ['Wow, I can write in `monospace`!', 'Wow, I can write in <c>{`}monospace{`}</c>!'],
    ['There are three blocks in this body, one per line,\nbut there is no *formatting\nas spans* may not escape blocks.', 'There are three blocks in this body, one per line,\nbut there is no *formatting\nas spans* may not escape blocks.'],
    ['```ignored\n(println "Hello, world!")\n```\n\nThis *is*', '<pre>{```ignored\n}(println "Hello, world!")\n{```\n}</pre>\nThis <b>{*}is{*}</b>'],
    ['> ```\n> (println "Hello, world!")\n\nThe *entire*', '<q><pre>{> }{```\n}{> }(println "Hello, world!")\n</pre></q>\nThe <b>{*}entire{*}</b>'],
    ['> That that is, is.\n\nSaid the old hermit of Prague.', '<q>{> }That that is, is.\n</q>\nSaid the old hermit of Prague.'],
    ['>> That that is, is.\n> Said the old hermit of Prague.\n\nWho?', '<q><q>{>}{> }That that is, is.\n</q>{> }Said the old hermit of Prague.\n</q>\nWho?'],
    ['> _ <', '<q>{> }_ <</q>'],
  ])('of the specification: %j', (from, to) => expect(drawn(styled(from))).toBe(to))

  it.each([
    // Only within one span, only where whitespace or the beginning is before them.
    ['snake_case_name and 2*3*4', 'snake_case_name and 2*3*4'],
    ['**bold**', '**bold**'],
    ['* a* *b *', '* a* *b *'],
    ['*_~all~_*', '<b>{*}<i>{_}<s>{~}all{~}</s>{_}</i>{*}</b>'],
    ['_*a_ b*', '<i>{_}*a{_}</i> b*'],
    ['*a _b* c_', '<b>{*}a _b{*}</b> c_'],
    ['(*no*)', '(*no*)'],
    ['\u2003*wide*\u00a0_spaces_', '\u2003<b>{*}wide{*}</b>\u00a0<i>{_}spaces{_}</i>'],
    ['*عريض* و_مائل_ _مائل_', '<b>{*}عريض{*}</b> و_مائل_ <i>{_}مائل{_}</i>'],
    ['*👍🏽*', '<b>{*}👍🏽{*}</b>'],
    ['a > b', 'a > b'],
    ['>', '<q>{>}</q>'],
    ['>\n>x', '<q>{>}\n{>}x</q>'],
    ['```', '<pre>{```}</pre>'],
    ['```\n``` \n*a*\n```\n*b*', '<pre>{```\n}``` \n*a*\n{```\n}</pre><b>{*}b{*}</b>'],
    ['```\r\nx\r\n```\r\n', '<pre>{```\r\n}x\r\n{```\r\n}</pre>'],
    // A quotation ends what is open in it.
    ['> ```\nno\n```\nyes', '<q><pre>{> }{```\n}</pre></q>no\n<pre>{```\n}yes</pre>'],
    ['> *a\n> b*', '<q>{> }*a\n{> }b*</q>'],
  ])('of others: %j', (from, to) => expect(drawn(styled(from))).toBe(to))

  it.each([
    ['see https://a.example/x, ok', 'see [https://a.example/x], ok'],
    ['(http://a.example/b)', '([http://a.example/b])'],
    ['https://a.example/b_(c)', '[https://a.example/b_(c)]'],
    ['https://a.example.', '[https://a.example].'],
    ['javascript:alert(1) data:text/html,x', 'javascript:alert(1) data:text/html,x'],
    ['xhttps://no éhttps://no 1https://no', 'xhttps://no éhttps://no 1https://no'],
    ['https://', 'https://'],
    ['no link', 'no link'],
    ['', ''],
    ['*https://a.example/x*', '<b>{*}[https://a.example/x]{*}</b>'],
    ['*_https://a.example._*,', '<b>{*}<i>{_}[https://a.example].{_}</i>{*}</b>,'],
    ['https://a.example/_x_ https://a.example/a_b_c', '[https://a.example/_x_] [https://a.example/a_b_c]'],
    // A directive in a link counts, but both halves lead to the whole.
    ['_see https://a.example/Foo_bar', '<i>{_}see [https://a.example/Foo]{_}</i>[bar]'],
    ['`https://a.example` ```\nx', '<c>{`}https://a.example{`}</c> ```\nx'],
    ['> https://a.example/\n```\nhttps://a.example/', '<q>{> }[https://a.example/]\n</q><pre>{```\n}https://a.example/</pre>'],
  ])('with links: %j', (from, to) => expect(drawn(styled(from))).toBe(to))

  it('have links that are whole', () => {
    expect(linksIn('_see https://a.example/Foo_bar and https://a.example/Foo_bar. http://b.example')).toEqual(['https://a.example/Foo_bar', 'http://b.example'])
    expect(linksIn('```\nhttps://a.example')).toEqual([])
    expect(linksIn('```\nhttps://a.example', { unstyled: true })).toEqual(['https://a.example'])
  })

  it('name people where they are named, in code points', () => {
    const of = (begin: number, end: number): { begin: number; end: number; jid: string } => ({ begin, end, jid: 'a@h' })
    expect(drawn(styled('👋 @Ann *and @Bob Lee* go', { mentions: [of(2, 6), of(12, 20)] }))).toBe('👋 [@@Ann] <b>{*}and [@@Bob Lee]{*}</b> go')
    expect(drawn(styled('*a @x* b', { mentions: [of(3, 8)] }))).toBe('<b>{*}a [@@x]{*}</b>[@ b]')
    expect(drawn(styled('> @Ann\nhttps://x.example @Bob', { mentions: [of(2, 6), of(25, 29)] }))).toBe('<q>{> }[@@Ann]\n</q>[https://x.example] [@@Bob]')
    // Nonsense names nobody.
    for (const mentions of [[of(5, 99)], [of(99, 100)], [of(3, 3)], [of(4, 2)]]) expect(drawn(styled('hello', { mentions }))).toBe('hello')
    expect(drawn(styled('hello', { mentions: [of(1, 3), of(0, 2), of(3, 4)] }))).toBe('h[@el][@l]o')
  })

  it('are as they are when their sender says so', () => {
    expect(drawn(styled('> *_* < https://a.example', { unstyled: true }))).toBe('> *_* < [https://a.example]')
  })

  it('nest only so deep', () => {
    const depth = (parts: Part[]): number => Math.max(0, ...parts.map((p) => ('within' in p ? 1 + depth(p.within) : 0)))
    const deep = '>'.repeat(60_000)
    expect(depth(styled(deep))).toBe(6)
    expect(text(styled(deep))).toBe(deep)
    expect(depth(styled('> '.repeat(6) + '*_~`a`~_*'))).toBe(10)
  })

  /** Always the same numbers. */
  function random(seed: number): (below: number) => number {
    return (below) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((seed / 2 ** 32) * below)
    }
  }

  it('never lose or add anything, whatever is in them', () => {
    const bits = ['*', '_', '~', '`', '```', '```\n', '\n', '\n', '\r\n', '> ', '>', ' ', ' ', 'a', 'b c', '👍', '\ud83d', 'é', '\u2028', 'https://a.example/x', 'http://', '@Ann', ')', '.', 'ب', '\u0000', '<b>', '&amp;']
    const next = random(7)
    for (let round = 0; round < 20_000; round++) {
      const from = Array.from({ length: next(24) }, () => bits[next(bits.length)]).join('')
      const mentions = Array.from({ length: next(3) }, () => {
        const begin = next(20)
        return { begin, end: begin + next(6), jid: 'a@h' }
      })
      for (const how of [{ mentions }, { mentions, unstyled: true }]) {
        const parts = styled(from, how)
        expect(text(parts), JSON.stringify(from)).toBe(from)
        check(parts, [])
      }
    }
    /** No element in one of its kind but quotations, nothing styled in what is preformatted, no link but to the web, nothing empty. */
    function check(parts: Part[], around: string[]): void {
      for (const p of parts) {
        if ('within' in p) {
          expect(p.style === 'blockquote' || !around.includes(p.style)).toBe(true)
          expect(around.includes('code') || around.includes('pre')).toBe(false)
          expect(p.within.length).toBeGreaterThan(0)
          check(p.within, [...around, p.style])
        } else {
          expect(p.text).not.toBe('')
          if (p.href !== undefined) expect(p.href).toMatch(/^https?:\/\//i)
        }
      }
    }
  })

  it('take as long as they are long', () => {
    const most = 60_000
    const mean = ['*', '*a ', '*a', ' *a', '*_~`', '*a _b ~c `d ', '*a* ', '_*', '>', '>\n', '> ', '> > > > > > > >\n', '```\n', '> ```\n', '`', '``` ', 'https://a.example/_', 'https://', '(https://a.example', 'https://a.example/))))', ')', '.', '\n', ' ', '*\n', 'a*', '👍']
    styled('*warm*'.repeat(1_000))
    for (const bit of mean) {
      const from = bit.repeat(Math.ceil(most / bit.length)).slice(0, most)
      const began = performance.now()
      expect(text(styled(from))).toBe(from)
      // A tenth of that is usual; what is quadratic takes minutes.
      expect(performance.now() - began, JSON.stringify(bit)).toBeLessThan(2_000)
    }
    const many = Array.from({ length: 50 }, (_, i) => ({ begin: i * 1_000, end: i * 1_000 + 3, jid: 'a@h' }))
    const from = '👍*a '.repeat(15_000)
    expect(text(styled(from, { mentions: many }))).toBe(from)
  })
})
