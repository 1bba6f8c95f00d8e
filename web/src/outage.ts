// SPDX-License-Identifier: Apache-2.0

import { getMeta, putMeta, type Db } from './store/schema'
import { fetchStatusPlaces, readOutage, type Outage, type StatusPlaces } from './wire/status'
import type { Session } from './wire/session'

/** What a person is told of an outage besides that there is one. */
export interface Told {
  outage: Outage | undefined
  /** Address of the page that tells more; "". */
  page: string
}

export interface OutagesOptions {
  db: Db
  /** There is something else to tell. */
  changed: () => void
  /** Whether somebody looks at the app: for nobody nothing is fetched. */
  watched: () => boolean
  random?: () => number
}

/** Those who are cut off together do not ask together. */
const SOON_MS = 2_000
/** While it lasts the file is read again, about so often. */
const AGAIN_MS = 90_000
const READ_MS = 8_000
const MOST_BYTES = 64 * 1024
/** What was read is of this outage when the server was not heard for much longer than that after it. */
const FLAPPING_MS = 60_000

/**
 * Why a server cannot be reached, and until when: a file tells it that is on another
 * machine (XEP-0455). Where that is the server says while all is well.
 */
export class Outages {
  private places: StatusPlaces = { files: [], page: '' }
  private last: { at: number; outage: Outage | undefined } | undefined
  private timer: ReturnType<typeof setTimeout> | undefined
  private failing = false

  constructor(private readonly options: OutagesOptions) {}

  async start(): Promise<void> {
    const { db } = this.options
    const [places, last] = await Promise.all([getMeta(db, 'status'), getMeta(db, 'outage')])
    this.places = places ?? this.places
    this.last = last
  }

  /** Asks where outages are told of, and keeps it for when nobody can be asked. */
  async learn(session: Session): Promise<void> {
    const places = await fetchStatusPlaces(session)
    if (JSON.stringify(places) === JSON.stringify(this.places)) return
    this.places = places
    await putMeta(this.options.db, 'status', places)
    // The page may connect to where its own headers say: the one that is kept on the device is from before.
    if ('navigator' in globalThis) navigator.serviceWorker?.controller?.postMessage('headers')
  }

  /** Whether the server fails us now: then the file is read, soon and now and again. */
  look(failing: boolean): void {
    this.failing = failing
    if (!failing) this.close()
    else if (this.places.files.length > 0) this.timer ??= this.after(SOON_MS)
  }

  /** What to tell, the server having been heard last then. */
  told(lastContact: number): Told {
    const { page } = this.places
    const ours = this.last !== undefined && this.last.at > lastContact - FLAPPING_MS
    return { page, outage: ours ? this.last!.outage : undefined }
  }

  close(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private after(most: number): ReturnType<typeof setTimeout> {
    const random = (this.options.random ?? Math.random)()
    const rest = (this.last?.at ?? 0) + AGAIN_MS / 3 - Date.now()
    return setTimeout(() => void this.read(), Math.max(most * (most === SOON_MS ? random : 0.7 + 0.6 * random), Math.min(rest, AGAIN_MS)))
  }

  private async read(): Promise<void> {
    const { db, watched, changed } = this.options
    for (const address of watched() ? this.places.files : []) {
      const read = await readFile(address).then((outage) => ({ outage, at: Date.now() }), () => undefined)
      if (!read) continue // the next may be there
      this.last = read
      await putMeta(db, 'outage', read).catch(() => undefined)
      changed()
      break
    }
    if (this.timer === undefined) return
    this.timer = this.failing ? this.after(AGAIN_MS) : undefined
  }
}

/** Threat: whoever has that file. It learns nothing of who reads it, cannot keep us long, and fills no memory. */
async function readFile(address: string): Promise<Outage | undefined> {
  const signal = AbortSignal.timeout(READ_MS)
  const answer = await fetch(address, { credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-cache', signal })
  if (!answer.ok || !answer.body) throw new Error(`status ${answer.status}`)
  const reader = answer.body.getReader()
  const text = new TextDecoder()
  let all = ''
  for (let size = 0; ; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.length
    if (size > MOST_BYTES) {
      await reader.cancel()
      throw new Error('too large')
    }
    all += text.decode(value, { stream: true })
  }
  return readOutage(JSON.parse(all + text.decode()))
}
