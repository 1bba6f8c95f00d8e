// SPDX-License-Identifier: Apache-2.0

/** A connection that carries text frames; what a WebSocket is to the rest of the wire. */
export interface Transport {
  send(frame: string): void
  close(): void
}

export interface TransportEvents {
  open(): void
  frame(text: string): void
  /** The last event, also when the connection never opened. */
  closed(): void
}

export type Dial = (address: string, events: TransportEvents) => Transport

/** Dials a WebSocket with the subprotocol of RFC 7395 §3.1. */
export const dialWebSocket: Dial = (address, events) => {
  let socket: WebSocket
  try {
    socket = new WebSocket(address, 'xmpp')
  } catch {
    queueMicrotask(() => events.closed()) // an address that is none, or one that the page may not reach
    return { send: () => undefined, close: () => undefined }
  }
  socket.onopen = () => events.open()
  socket.onmessage = (e: MessageEvent<unknown>) => {
    if (typeof e.data === 'string') events.frame(e.data)
    else socket.close() // RFC 7395 §3.2: text frames only
  }
  socket.onclose = () => events.closed()
  return {
    send: (frame) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame)
    },
    close: () => socket.close(),
  }
}
