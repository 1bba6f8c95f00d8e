// SPDX-License-Identifier: Apache-2.0

import { gzipSync } from 'node:zlib'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/**
 * What the build adds: the list of files in the service worker, the font's
 * preload in the page, compressed twins for the server to send, and the file
 * that keeps the empty directory in git.
 */
function shell(): Plugin {
  return {
    name: 'bavard-shell',
    apply: 'build',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        const font = Object.keys(bundle).find((f) => /next-latin-wght-normal.*\.woff2$/.test(f))
        const page = bundle['index.html']
        if (font && page?.type === 'asset') {
          const preload = `<link rel="preload" href="/${font}" as="font" type="font/woff2" crossorigin />`
          page.source = String(page.source).replace('</head>', `  ${preload}\n  </head>`)
        }
        const files = Object.keys(bundle).filter((f) => f !== 'sw.js' && f !== 'index.html')
        const worker = bundle['sw.js']
        if (worker?.type === 'chunk') {
          const list = ['/', ...files.map((f) => '/' + f), '/icon.svg', '/manifest.webmanifest']
          const version = hash(Object.values(bundle).map((f) => (f.type === 'chunk' ? f.code : f.source)))
          worker.code = worker.code.replace('__FILES__', JSON.stringify(list)).replace('__VERSION__', JSON.stringify(version))
        }
        for (const [name, file] of Object.entries(bundle)) {
          if (!/\.(js|css|html)$/.test(name)) continue
          const source = gzipSync(file.type === 'chunk' ? file.code : file.source, { level: 9 })
          this.emitFile({ type: 'asset', fileName: name + '.gz', source })
        }
        this.emitFile({ type: 'asset', fileName: '.gitkeep', source: '' })
      },
    },
  }
}

function hash(parts: (string | Uint8Array)[]): string {
  let h = 0xcbf29ce484222325n // FNV-1a, 64 bits: names a version, protects nothing
  for (const part of parts) for (const b of Buffer.from(part)) h = ((h ^ BigInt(b)) * 0x100000001b3n) & (2n ** 64n - 1n)
  return h.toString(36)
}

const server = process.env['BAVARD_URL'] ?? 'http://localhost:5280'

export default defineConfig({
  plugins: [svelte(), shell()],
  build: {
    target: 'es2024',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'], // those that know light-dark()
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: { index: 'index.html', sw: 'src/sw.ts' },
      output: {
        entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js'),
        // What the first paint needs and others share packs better in one piece.
        advancedChunks: {
          includeDependenciesRecursively: false,
          groups: [
            { name: 'base', test: /node_modules\/(svelte|idb|esm-env|clsx)\/|src\/ui\/(Avatar|Icon|Ticks|Lazy|router|context|format|strings|settings)\b|src\/store\/(schema|search)\.ts|src\/wire\/(jid|xml|ns|random)\.ts/ },
            // What is rarely opened, and much alike: many small files pack worse than few.
            { name: 'words', test: /src\/ui\/words\/(door|media|own|people|screens|talk)\.ts/ },
            { name: 'panels', test: /src\/(own\.ts|ui\/(Archived|Callable|ChatMenu|ContactInfo|CopyField|DeleteAccount|DeleteChat|Devices|Dialog|Directory|ExportChat|FindIn|Found|GroupInfo|GroupLinks|Me|NewChat|NewGroup|PanelHead|Password|People|PersonRow|PictureField|Privacy|Recovery|Report|SearchResults|Standing|Starred|crowd|export|links|seen)\b)/ },
            { name: 'door', test: /src\/(onboard\.ts|ui\/(Door|Invite|LinkDevice|Login|Offer)\b)/ },
            { name: 'rich', test: /src\/ui\/(Rich|inside|styling|wrap)\b/ },
            { name: 'menus', test: /src\/(acts\.ts|store\/act\.ts|ui\/(Emoji|Menu|MessageDialogs|Pick|Selecting|mentions)\b)/ },
            { name: 'sharing', test: /src\/(shrink|ui\/(Attach|Drop|Recorder|Viewer|prepare|shrink)\b)/ },
          ],
        },
      },
    },
  },
  server: {
    proxy: {
      '/xmpp-websocket': { target: server, ws: true },
      '/.well-known': server,
    },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
})
