// SPDX-License-Identifier: Apache-2.0

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

/**
 * Who may import whom. The wire knows nothing of the rest, and the user
 * interface nothing of the wire but how addresses are written: what XML is
 * must not be known where pixels are, nor the other way round.
 */
const LAWS: Record<string, RegExp> = {
  wire: /^wire\//,
  store: /^(store|wire)\/|^idb$|^svelte/,
  outbox: /^(outbox|store|wire)\//,
  ui: /^(ui|store)\/|^wire\/jid$|^(app\.svelte|onboard|update\.svelte)$|^svelte|^virtua|^qr(\/decode\.js)?$/,
}

const src = dirname(fileURLToPath(import.meta.url))

it.each(Object.entries(LAWS))('%s imports only what it may', (folder, law) => {
  for (const file of readdirSync(join(src, folder))) {
    if (!/\.(ts|svelte)$/.test(file) || /\.test\.ts$|^(server\.)?testing\.ts$/.test(file)) continue
    const text = readFileSync(join(src, folder, file), 'utf8')
    for (const [, from, bare, lazy] of text.matchAll(/\bfrom '([^']+)'$|^\s*import '([^']+)'|\bimport\('([^']+)'\)/gm)) {
      const name = (from ?? bare ?? lazy)!
      const to = name.startsWith('.') ? relative(src, resolve(src, folder, name)) : name
      expect(law.test(to), `${folder}/${file} imports ${to}`).toBe(true)
    }
  }
})

it('the wire and the outbox use nothing of the page', () => {
  for (const folder of ['wire', 'outbox']) {
    for (const file of readdirSync(join(src, folder))) {
      const text = readFileSync(join(src, folder, file), 'utf8')
      expect(/\b(document|window|localStorage|location|navigator)\./.test(text), `${folder}/${file}`).toBe(false)
    }
  }
})
