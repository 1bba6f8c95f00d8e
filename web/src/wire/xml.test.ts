// SPDX-License-Identifier: Apache-2.0

import { describe, expect, it } from 'vitest'
import { parseXml, XmlError } from './parse'
import { clean, xml, type XmlElement } from './xml'

describe('writing', () => {
  it('declares a namespace where it differs from that of the parent', () => {
    const el = xml('iq', { xmlns: 'jabber:client', type: 'get' }, xml('ping', { xmlns: 'urn:xmpp:ping' }), xml('x', { xmlns: 'jabber:client' }))
    expect(el.toString()).toBe("<iq xmlns='jabber:client' type='get'><ping xmlns='urn:xmpp:ping'/><x/></iq>")
  })

  it('escapes text and attributes', () => {
    expect(xml('a', { b: `<"'&>` }, '1 < 2 & 3').toString()).toBe("<a b='&lt;&quot;&apos;&amp;&gt;'>1 &lt; 2 &amp; 3</a>")
  })

  it('leaves out what XML cannot carry', () => {
    expect(clean('a\u0000b\u0008c\uFFFEd\uD800e\r\nf\rg😀')).toBe('abcde\nf\ng😀')
    expect(xml('a', {}, 'x\u0001y').toString()).toBe('<a>xy</a>')
  })

  it('leaves out absent attributes and children', () => {
    expect(xml('a', { b: undefined }, undefined, false).toString()).toBe('<a/>')
  })
})

describe('reading', () => {
  it('resolves namespaces and prefixes', () => {
    const el = parseXml(
      `<stream:features xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='urn:bind'><required/></bind></stream:features>`,
    )
    expect([el.name, el.ns]).toEqual(['features', 'http://etherx.jabber.org/streams'])
    expect(el.child('bind', 'urn:bind')?.child('required')?.ns).toBe('urn:bind')
  })

  it('unescapes entities, characters and CDATA', () => {
    const el = parseXml(`<a b="&lt;&#65;&#x1F600;&quot;">x &amp; y<![CDATA[<z>]]>&apos;</a>`)
    expect(el.attr('b')).toBe('<A😀"')
    expect(el.text()).toBe("x & y<z>'")
  })

  it('gives back what was written', () => {
    const once = xml('m', { xmlns: 'n', 'xml:lang': 'fr', a: 'é<>&' }, 'text ', xml('b', { xmlns: 'o' }, '😀\n'), ' tail')
    const again: XmlElement = parseXml(once.toString())
    expect(parseXml(again.toString())).toEqual(again)
    expect(again.toString()).toBe(once.toString())
  })

  it.each([
    ['a document type', '<!DOCTYPE a><a/>'],
    ['a comment', '<a><!-- x --></a>'],
    ['a processing instruction', '<a><?php ?></a>'],
    ['an XML declaration', '<?xml version="1.0"?><a/>'],
    ['an unknown entity', '<a>&nbsp;</a>'],
    ['a bare ampersand', '<a>a & b</a>'],
    ['two elements', '<a/><b/>'],
    ['text after the element', '<a/>b'],
    ['an open element', '<a><b></a>'],
    ['a missing end', '<a>'],
    ['an undeclared prefix', '<x:a/>'],
    ['the same attribute twice', '<a b="1" b="2"/>'],
    ['an attribute without quotes', '<a b=1/>'],
    ['< in an attribute', '<a b="<"/>'],
    ['nothing', ''],
    ['deep nesting', '<a>'.repeat(100) + '</a>'.repeat(100)],
    ['a character that does not exist', '<a>&#x110000;</a>'],
  ])('refuses %s', (_what, source) => {
    expect(() => parseXml(source)).toThrow(XmlError)
  })

  it('never throws anything else, whatever comes', () => {
    const seed = `<m xmlns='a' to="b"><body>x &amp; <![CDATA[y]]></body></m>`
    let random = 42
    const next = (n: number): number => (random = (random * 1103515245 + 12345) & 0x7fffffff) % n
    for (let i = 0; i < 5_000; i++) {
      const at = next(seed.length)
      const source = seed.slice(0, at) + `<>&'"/![]x \u0000`[next(13)] + seed.slice(at + next(3))
      try {
        parseXml(source)
      } catch (e) {
        expect(e).toBeInstanceOf(XmlError)
      }
    }
  })
})
