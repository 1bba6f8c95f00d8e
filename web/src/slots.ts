// SPDX-License-Identifier: Apache-2.0

import { getMeta, putMeta, type Db, type Shared, type Slot } from './store/schema'
import { StanzaError } from './wire/errors'
import type { Session } from './wire/session'
import { shareFrom } from './wire/share'
import { askSlot, findUploads, type UploadService } from './wire/upload'

/** Where files go: what the server takes, a place for each, and the origin that it serves them from. */
export class Slots {
  private service: Promise<UploadService | undefined> | undefined

  constructor(
    private readonly db: Db,
    private readonly origin: string,
  ) {}

  async start(): Promise<void> {
    const known = await getMeta(this.db, 'uploads')
    shareFrom(this.origin, known ?? '')
    if (known === undefined) await this.learn()
  }

  /** Another session: what was known of the server may be over. */
  begin(): void {
    this.service = undefined
  }

  /** How large a file may be, in bytes; 0 when this server takes none. */
  async limit(session: Session): Promise<number> {
    const service = await this.find(session)
    return service ? service.most || Number.MAX_SAFE_INTEGER : 0
  }

  async ask(session: Session, file: Shared): Promise<Slot> {
    const service = await this.find(session)
    if (!service) throw new StanzaError('service-unavailable', 'cancel', '')
    const slot = await askSlot(session, service.jid, file)
    const base = new URL(slot.get).origin
    if (base !== this.origin) await this.keep(base)
    return slot
  }

  /** Where this server has its files, when that is not where the app is. */
  async learn(): Promise<void> {
    try {
      const answer = await fetch('/.well-known/bavard.json', { signal: AbortSignal.timeout(3_000) })
      const { uploads } = (await answer.json()) as { uploads?: unknown }
      await this.keep(typeof uploads === 'string' && URL.canParse(uploads) ? new URL(uploads).origin : '')
    } catch {
      // the next start asks again
    }
  }

  private async keep(base: string): Promise<void> {
    if (base !== '') shareFrom(this.origin, base)
    await putMeta(this.db, 'uploads', base)
  }

  private find(session: Session): Promise<UploadService | undefined> {
    this.service ??= findUploads(session).catch((e: unknown) => {
      this.service = undefined
      throw e
    })
    return this.service
  }
}
