// SPDX-License-Identifier: Apache-2.0

import { NS } from './ns'
import type { XmlElement } from './xml'

/** A stanza was refused (RFC 6120 §8.3). */
export class StanzaError extends Error {
  constructor(
    readonly condition: string,
    readonly type: string,
    readonly text: string,
  ) {
    super(text ? `${condition}: ${text}` : condition)
  }

  /** Reads the error of a stanza of type "error"; always gives one. */
  static of(stanza: XmlElement): StanzaError {
    const error = stanza.child('error')
    const condition = error?.elements().find((e) => e.ns === NS.stanzaError && e.name !== 'text')
    return new StanzaError(
      condition?.name ?? 'undefined-condition',
      error?.attr('type') ?? 'cancel',
      error?.childText('text', NS.stanzaError) ?? '',
    )
  }
}

export type Fault =
  | 'unreachable' // no connection, or it broke
  | 'silent' // it no longer answers
  | 'closed' // the server ended the stream; condition says why
  | 'credentials' // the server refuses who we say we are
  | 'protocol' // it says what we cannot understand or accept

/** Why a stream ended or never came to be. */
export class StreamFailure extends Error {
  constructor(
    readonly fault: Fault,
    /** The stream error or SASL condition, or "". */
    readonly condition = '',
    readonly text = '',
    /** Where the server says to go instead (RFC 7395 §3.6.1). */
    readonly elsewhere?: string,
  ) {
    super([fault, condition, text].filter(Boolean).join(': '))
  }
}
