// SPDX-License-Identifier: Apache-2.0

import type { Answer } from './outbox/uploads'
import type { Slot } from './store/schema'

/** Without progress for so long, an upload is given up and begun anew. */
const STALLED_MS = 45_000

/**
 * Puts a file to its place (XEP-0363 §upload @1.2.0). An XMLHttpRequest, because
 * fetch does not tell how far it is. Rejects when no answer came.
 */
export function put(slot: Slot, type: string, data: Blob, progress: (share: number) => void, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    let stalled: ReturnType<typeof setTimeout>
    const alive = (): void => {
      clearTimeout(stalled)
      stalled = setTimeout(() => request.abort(), STALLED_MS)
    }
    const end = (settle: () => void) => (): void => {
      clearTimeout(stalled)
      settle()
    }
    const failed = end(() => reject(new Error('no answer')))
    request.open('PUT', slot.put)
    request.setRequestHeader('Content-Type', type)
    if (slot.authorization !== undefined) request.setRequestHeader('Authorization', slot.authorization)
    request.upload.onprogress = (e) => {
      alive()
      if (e.lengthComputable) progress(e.loaded / e.total)
    }
    request.onload = end(() => {
      const seconds = Number(request.getResponseHeader('Retry-After') ?? NaN)
      resolve({ status: request.status, afterMs: seconds > 0 ? Math.min(seconds, 300) * 1000 : undefined })
    })
    request.onerror = failed
    request.onabort = failed
    signal.addEventListener('abort', () => request.abort())
    alive()
    request.send(data)
  })
}
