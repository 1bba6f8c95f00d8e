// SPDX-License-Identifier: Apache-2.0

import { NS } from './ns'
import { xml, type XmlElement } from './xml'

/** A file that a message shares (XEP-0447, XEP-0446 §format @0.2.0). */
export interface Shared {
  name: string
  /** Its media type, as its sender says. */
  type: string
  /** In bytes; 0 when it was not said. */
  size: number
  /** Where it is; undefined while it is not uploaded. */
  url?: string | undefined
  /** In pixels. */
  width?: number | undefined
  height?: number | undefined
  /** In milliseconds. */
  length?: number | undefined
  /** A small picture of it: a data: address, for an img. */
  thumb?: string | undefined
  /** Loudness over time, of what was recorded: base64, an octet for each bar. */
  wave?: string | undefined
  /** It is to be shown where it stands, not only to be saved. */
  inline: boolean
  /** It is not on this server: nothing of it is loaded without the person. */
  foreign?: boolean | undefined
}

/** A thumbnail is two or three kB; more than this is not taken. */
const MOST_THUMB = 12 * 1024
const THUMB = /^data:image\/(?:jpeg|png|webp);base64,[A-Za-z0-9+/]+={0,2}$/
export const MOST_BARS = 64

/** Where this server has its files: what begins so is ours. */
let bases: string[] = []

/** Says where this server has its files: the origins that it serves them from. */
export function shareFrom(...origins: string[]): void {
  bases = origins.filter((o) => o !== '').map((o) => o.replace(/\/+$/, '') + '/upload/')
}

function isOurs(url: string): boolean {
  return bases.some((base) => url.startsWith(base))
}

/**
 * Reads which file a message shares, and what of its body is meant for people.
 * An address alone (XEP-0066), as older clients send, is a file when it is on
 * this server, else it stays a link.
 */
export function readShared(el: XmlElement, body: string | undefined): { whole: string | undefined; file: Shared | undefined } {
  const all = el.all('file-sharing', NS.sharing)
  const file = all[0] && readFile(all[0])
  // What else it shares is in the body for everybody.
  if (file) return { whole: all.length > 1 ? (body ?? '') : withoutFallback(el, body ?? ''), file }
  const url = cleanUrl(el.child('x', NS.oob)?.childText('url', NS.oob))
  if (url === undefined || (body !== undefined && body !== '' && cleanUrl(body.trim()) !== url)) return { whole: body, file: undefined }
  if (!isOurs(url)) return { whole: body || url, file: undefined }
  const name = nameIn(url)
  return { whole: '', file: { name, type: typeOf(name), size: 0, url, inline: true } }
}

function readFile(sharing: XmlElement): Shared | undefined {
  const file = sharing.child('file', NS.file)
  const sources = sharing.child('sources', NS.sharing)
  const url = cleanUrl(sources?.all('url-data', NS.urlData).map((u) => u.attr('target')).find((u) => cleanUrl(u) !== undefined))
  if (!file || url === undefined) return undefined
  const number = (name: string): number | undefined => {
    const n = Number(file.childText(name, NS.file) ?? NaN)
    return Number.isSafeInteger(n) && n > 0 ? n : undefined
  }
  const name = cleanName(file.childText('name', NS.file) ?? '') || nameIn(url)
  const type = (file.childText('media-type', NS.file) ?? '').toLowerCase().trim()
  const wave = file.childText('waveform', NS.waveform)
  return {
    name,
    type: /^[\w.+-]+\/[\w.+-]+$/.test(type) ? type : typeOf(name),
    size: number('size') ?? 0,
    url,
    width: number('width'),
    height: number('height'),
    length: number('length'),
    thumb: file.all('thumbnail', NS.thumbs).map((t) => t.attr('uri') ?? '').find((u) => u.length <= MOST_THUMB && THUMB.test(u)),
    wave: wave !== undefined && /^[A-Za-z0-9+/]{4,88}={0,2}$/.test(wave) ? wave : undefined,
    inline: sharing.attr('disposition') !== 'attachment',
    ...(!isOurs(url) && { foreign: true }),
  }
}

/** The body less what stands in it for clients that know no files (XEP-0447 §body @0.3.1). */
function withoutFallback(el: XmlElement, body: string): string {
  const marked = el.all('fallback', NS.fallback).find((f) => f.attr('for') === NS.sharing)
  const range = marked?.child('body', NS.fallback)
  if (!marked) {
    const url = cleanUrl(el.child('x', NS.oob)?.childText('url', NS.oob))
    return url !== undefined && cleanUrl(body.trim()) === url ? '' : body
  }
  const points = [...body]
  const start = Number(range?.attr('start') ?? 0)
  const end = Number(range?.attr('end') ?? points.length)
  if (!(start >= 0 && end >= start && end <= points.length)) return body
  const rest = [...points.slice(0, start), ...points.slice(end)].join('')
  return el.child('reply', NS.reply) ? rest : rest.trimEnd() // the end of what is quoted is counted
}

/** Threat: addresses that do something else than get a file: http and https only. */
function cleanUrl(url: string | undefined): string | undefined {
  if (url === undefined || url.length > 2048 || !URL.canParse(url)) return undefined
  const parsed = new URL(url)
  if (!/^https?:$/.test(parsed.protocol) || parsed.username !== '' || parsed.password !== '') return undefined
  parsed.hash = ''
  return parsed.href
}

/** Threat: names that lead elsewhere, or look like another (XEP-0446 §security @0.2.0). */
export function cleanName(name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}/\\:]+/gu, ' ').trim().slice(-120)
}

function nameIn(url: string): string {
  const last = new URL(url).pathname.split('/').at(-1) ?? ''
  try {
    return cleanName(decodeURIComponent(last)) || 'file'
  } catch {
    return cleanName(last) || 'file'
  }
}

const TYPES: Record<string, string> = {
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  png: 'image/png',
  gif: 'image/gif',
  webp: 'image/webp',
  avif: 'image/avif',
  mp4: 'video/mp4',
  webm: 'video/webm',
  mov: 'video/quicktime',
  ogg: 'audio/ogg',
  oga: 'audio/ogg',
  opus: 'audio/ogg',
  mp3: 'audio/mpeg',
  m4a: 'audio/mp4',
  wav: 'audio/wav',
  flac: 'audio/flac',
  pdf: 'application/pdf',
  txt: 'text/plain',
}

/** What a file of that name probably is. */
export function typeOf(name: string): string {
  return TYPES[name.split('.').at(-1)?.toLowerCase() ?? ''] ?? 'application/octet-stream'
}

/** What a message carries that shares a file, for buildChat: others find its address behind the text. */
export function sharing(file: Shared, caption: string): { text: string; of: string; payload: XmlElement[] } {
  const url = file.url ?? ''
  const optional = (name: string, n: number | undefined): XmlElement | false => n !== undefined && n > 0 && xml(name, {}, String(Math.round(n)))
  const metadata = xml(
    'file',
    { xmlns: NS.file },
    xml('media-type', {}, file.type),
    xml('name', {}, file.name),
    file.size > 0 && xml('size', {}, String(file.size)),
    optional('width', file.width),
    optional('height', file.height),
    optional('length', file.length),
    file.thumb !== undefined && xml('thumbnail', { xmlns: NS.thumbs, uri: file.thumb, 'media-type': file.thumb.slice(5, file.thumb.indexOf(';')) }),
    file.wave !== undefined && xml('waveform', { xmlns: NS.waveform }, file.wave),
  )
  const sources = xml('sources', {}, xml('url-data', { xmlns: NS.urlData, target: url }))
  return {
    text: (caption === '' ? '' : '\n') + url,
    of: NS.sharing,
    payload: [
      xml('file-sharing', { xmlns: NS.sharing, disposition: file.inline ? 'inline' : 'attachment' }, metadata, sources),
      xml('x', { xmlns: NS.oob }, xml('url', {}, url)),
    ],
  }
}
