// SPDX-License-Identifier: Apache-2.0

import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, vi } from 'vitest'
import type { Dial } from './transport'

const binary = resolve(process.env['BAVARD_BIN'] ?? join(dirname(fileURLToPath(import.meta.url)), '../../../bin/bavard'))

/** A real server with data of its own, for tests. */
export class RealServer {
  readonly data = mkdtempSync(join(tmpdir(), 'bavard-unit-'))
  private running = spawn(binary, ['serve', '--data', this.data, '--c2s', '127.0.0.1:0', '--c2s-tls', '', '--http', '127.0.0.1:0', '--insecure-loopback'], {
    stdio: 'ignore',
  })
  address = ''

  async ready(): Promise<this> {
    const file = join(this.data, 'addresses.json')
    await vi.waitFor(() => expect(existsSync(file)).toBe(true), 20_000)
    const { http } = JSON.parse(readFileSync(file, 'utf8')) as { http: string }
    this.address = `ws://${http}/xmpp-websocket`
    await vi.waitFor(async () => expect((await fetch(`http://${http}/readyz`)).ok).toBe(true), 20_000)
    return this
  }

  user(name: string, password: string): void {
    execFileSync(binary, ['user', 'add', name, '--data', this.data, '--password-stdin'], { input: password + '\n', stdio: ['pipe', 'ignore', 'inherit'] })
  }

  /** The same for many at once. */
  users(names: string[], password: string): void {
    execFileSync(binary, ['user', 'import', '-', '--data', this.data], { input: names.map((name) => `${name}\t${password}\n`).join(''), stdio: ['pipe', 'ignore', 'pipe'] })
  }

  async close(): Promise<void> {
    const gone = new Promise((done) => this.running.once('exit', done))
    this.running.kill()
    await gone
    rmSync(this.data, { recursive: true, force: true })
  }
}

/** Dials a WebSocket (RFC 6455) from Node 20, which has none: text frames, not fragmented. */
export const dialFromNode: Dial = (address, events) => {
  let socket: Socket | undefined
  const url = new URL(address.replace(/^ws/, 'http'))
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'xmpp',
  }
  const asked = request({ host: url.hostname, port: url.port, path: url.pathname, headers })
  asked.on('error', () => events.closed())
  asked.on('upgrade', (_response, upgraded, head) => {
    socket = upgraded as Socket
    let rest = Buffer.from(head)
    const read = (): void => {
      for (;;) {
        if (rest.length < 2) return
        const short = rest[1]! & 127
        const start = short === 127 ? 10 : short === 126 ? 4 : 2
        if (rest.length < start) return
        const length = short === 127 ? Number(rest.readBigUInt64BE(2)) : short === 126 ? rest.readUInt16BE(2) : short
        if (rest.length < start + length) return
        const text = rest.toString('utf8', start, start + length)
        const kind = rest[0]! & 15
        rest = rest.subarray(start + length)
        if (kind === 1) events.frame(text)
      }
    }
    socket.on('data', (more: Buffer) => {
      rest = Buffer.concat([rest, more])
      read()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => events.closed())
    events.open()
    read()
  })
  asked.end()
  return {
    send: (frame) => {
      const payload = Buffer.from(frame)
      const head = payload.length < 126 ? Buffer.alloc(2) : Buffer.alloc(4)
      head[0] = 0x81
      head[1] = 0x80 | Math.min(payload.length, 126)
      if (head.length === 4) head.writeUInt16BE(payload.length, 2)
      const mask = randomBytes(4)
      socket?.write(Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i & 3]!)]))
    },
    close: () => socket?.destroy(),
  }
}
