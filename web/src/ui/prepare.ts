// SPDX-License-Identifier: Apache-2.0

import type { Shared } from '../store/schema'

/** Photos are sent no longer than this on their longer side, in pixels. */
const LONGEST = 2_048
/** A small picture of a picture: so large, and so many bytes at most. */
const THUMB_PX = 64
const THUMB_BYTES = 2_200
/** PNG stays what it is up to this size: drawings and screens suffer from JPEG. */
const MOST_PNG = 1_500_000
/** How long a film or a sound may take to tell what it is. */
const READ_MS = 8_000

/** A file, ready to be sent. */
export interface Prepared {
  file: Shared
  data: Blob
  /** It was drawn anew: what the camera wrote into it is gone. */
  stripped: boolean
}

/**
 * Makes of a file what is sent. Photos are drawn anew, which makes large ones
 * smaller and leaves behind what cameras write into them: where, when and with
 * what. Everything else, and what is sent as a document, stays as it is.
 */
export async function prepare(source: File, asDocument: boolean): Promise<Prepared> {
  const type = source.type.split(';')[0]!.trim().toLowerCase() || 'application/octet-stream'
  const name = source.name.replace(/[\p{Cc}\p{Cf}/\\:]+/gu, ' ').trim().slice(-120) || 'file'
  const file: Shared = { name, type, size: source.size, inline: !asDocument }
  const data = source.slice(0, source.size, type) // no name and no date of the file itself
  const plain: Prepared = { file, data, stripped: false }
  if (asDocument) return plain
  try {
    if (/^image\/(jpeg|png|webp|avif|bmp|heic|heif)$/.test(type)) return await photo(source, file)
    if (type === 'image/gif') {
      const image = await createImageBitmap(source)
      return { ...plain, file: { ...file, width: image.width, height: image.height, thumb: await thumbnail(image, image.width, image.height) } }
    }
    if (type.startsWith('video/')) return { ...plain, file: { ...file, ...(await film(data)) } }
    if (type.startsWith('audio/')) return { ...plain, file: { ...file, length: await lengthOfSound(data) } }
  } catch {
    // Not what it says to be, or nothing that this browser reads: for others it may be.
  }
  return { ...plain, file: { ...file, inline: false } }
}

async function photo(source: File, file: Shared): Promise<Prepared> {
  const image = await createImageBitmap(source) // turned as the camera was held
  const scale = Math.min(1, LONGEST / Math.max(image.width, image.height))
  const [width, height] = [Math.max(1, Math.round(image.width * scale)), Math.max(1, Math.round(image.height * scale))]
  let data: Blob | undefined
  if (file.type === 'image/png') {
    data = await encode(draw(image, width, height, false), 'image/png')
    if (data.size > MOST_PNG) data = undefined
  }
  data ??= await encode(draw(image, width, height, true), 'image/jpeg', 0.85)
  const thumb = await thumbnail(image, width, height)
  image.close()
  const name = file.name.replace(/\.[^.]*$/, '') + (data.type === 'image/png' ? '.png' : '.jpg')
  return { file: { ...file, name, type: data.type, size: data.size, width, height, thumb }, data, stripped: true }
}

function draw(image: CanvasImageSource, width: number, height: number, opaque: boolean): HTMLCanvasElement {
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext('2d')!
  context.imageSmoothingQuality = 'high'
  if (opaque) {
    context.fillStyle = '#fff'
    context.fillRect(0, 0, width, height)
  }
  context.drawImage(image, 0, 0, width, height)
  return canvas
}

function encode(canvas: HTMLCanvasElement, type: string, quality?: number): Promise<Blob> {
  return new Promise((resolve, reject) => canvas.toBlob((b) => (b ? resolve(b) : reject(new Error('no picture'))), type, quality))
}

/** A data: address with so little of the picture that it goes along with the message. */
async function thumbnail(image: CanvasImageSource, width: number, height: number): Promise<string | undefined> {
  const scale = Math.min(1, THUMB_PX / Math.max(width, height))
  const canvas = draw(image, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)), true)
  for (const quality of [0.6, 0.4, 0.2]) {
    const url = canvas.toDataURL('image/jpeg', quality)
    if (url.length <= (THUMB_BYTES * 4) / 3) return url
  }
  return undefined
}

/** Waits for an event of a film or sound, but not for long. */
function once(element: HTMLMediaElement, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('slow')), READ_MS)
    element.addEventListener(event, () => (clearTimeout(timer), resolve()), { once: true })
    element.addEventListener('error', () => (clearTimeout(timer), reject(new Error('unreadable'))), { once: true })
  })
}

/** How large and long a film is, and what it looks like at its beginning. */
async function film(data: Blob): Promise<Partial<Shared>> {
  const video = document.createElement('video')
  const url = URL.createObjectURL(data)
  try {
    video.muted = true
    video.preload = 'auto'
    const loaded = once(video, 'loadeddata')
    video.src = url
    await loaded
    const { videoWidth: width, videoHeight: height, duration } = video
    const sought = once(video, 'seeked')
    video.currentTime = Math.min(0.5, Number.isFinite(duration) ? duration / 4 : 0)
    await sought.catch(() => undefined)
    const thumb = await thumbnail(video, width, height)
    return { width, height, thumb, ...(Number.isFinite(duration) && { length: Math.round(duration * 1000) }) }
  } finally {
    video.removeAttribute('src')
    URL.revokeObjectURL(url)
  }
}

async function lengthOfSound(data: Blob): Promise<number | undefined> {
  const audio = new Audio()
  const url = URL.createObjectURL(data)
  try {
    const loaded = once(audio, 'loadedmetadata')
    audio.src = url
    await loaded
    return Number.isFinite(audio.duration) ? Math.round(audio.duration * 1000) : undefined
  } finally {
    URL.revokeObjectURL(url)
  }
}
