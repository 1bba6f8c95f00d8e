// SPDX-License-Identifier: Apache-2.0

// Files: pictures, documents, films and voice messages, between two browsers and with
// another client, over a server that is killed while they are on their way.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { greets, password, Profanity, Slixmpp } from './clients.mjs'
import { audit } from './access.mjs'
import { burst, check, inStore, picture, Server, stored, until } from './harness.mjs'

const bubble = (p, text) => p.page.locator('[role=log] .bubble').filter({ has: p.page.locator('.body', { hasText: text }) }).last()
const pictures = (p) => p.page.locator('[role=log] .bubble .picture')

/** A JPEG as cameras make it, with where it was taken written into it; drawn in a page. */
async function photo(page, width, height, hue = 20) {
  const base64 = await page.evaluate(
    async ([width, height, hue]) => {
      const canvas = new OffscreenCanvas(width, height)
      const context = canvas.getContext('2d')
      const sky = context.createLinearGradient(0, 0, width, height)
      sky.addColorStop(0, `hsl(${hue} 80% 75%)`)
      sky.addColorStop(1, `hsl(${hue + 60} 70% 35%)`)
      context.fillStyle = sky
      context.fillRect(0, 0, width, height)
      context.fillStyle = `hsl(${hue} 60% 90%)`
      context.beginPath()
      context.arc(width * 0.7, height * 0.3, height * 0.12, 0, 7)
      context.fill()
      context.fillStyle = `hsl(${hue + 100} 40% 22%)`
      context.beginPath()
      context.moveTo(0, height)
      for (let i = 0; i <= 8; i++) context.lineTo((width * i) / 8, height * (0.62 + 0.12 * Math.sin(i * 2.1)))
      context.lineTo(width, height)
      context.fill()
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.9 })).arrayBuffer())
      let s = ''
      for (const b of bytes) s += String.fromCharCode(b)
      return btoa(s)
    },
    [width, height, hue],
  )
  const jpeg = Buffer.from(base64, 'base64')
  const secret = Buffer.from('Exif\0\0SECRET PLACE 48.8584 2.2945')
  const length = Buffer.from([0xff, 0xe1, 0, secret.length + 2])
  return Buffer.concat([jpeg.subarray(0, 2), length, secret, jpeg.subarray(2)])
}

/** Chooses files as a person does. */
async function attach(p, files, item = 'Photos and videos') {
  await p.page.getByRole('button', { name: 'Attach' }).click()
  const chooser = p.page.waitForEvent('filechooser')
  await p.page.getByText(item).click()
  await (await chooser).setFiles(files)
  await p.page.getByRole('textbox', { name: 'Add a caption' }).waitFor()
}

async function sendFiles(p, caption = '') {
  await p.page.getByRole('textbox', { name: 'Add a caption' }).fill(caption)
  await p.page.getByRole('button', { name: /^Send \d+ files?$/ }).click()
  await p.page.getByRole('textbox', { name: 'Add a caption' }).waitFor({ state: 'hidden' })
}

/** Waits until somebody's recording has so many seconds, or more. */
const recorded = (p, seconds) =>
  until(`${seconds} s to be recorded`, async () => {
    const [, m, s] = /(\d+):(\d\d)/.exec(await p.page.getByRole('group', { name: 'Recording' }).innerText()) ?? []
    return Number(m) * 60 + Number(s) >= seconds
  })

/** All files stored with messages on the device. */
const files = (page) =>
  inStore(page, async (db, result) => {
    const all = (store) => result(db.transaction(store).objectStore(store).getAll())
    const [messages, kept] = [await all('messages'), await all('files')]
    return messages.filter((m) => m.file).map((m) => ({ ...m.file, key: m.key, body: m.body, tick: m.tick, out: m.out, pos: m.pos, kept: kept.some((k) => k.key === m.key) }))
  })

async function talk(world, ...names) {
  const people = await world.friends(...(names.length > 0 ? names : ['Alice', 'Bob']))
  const [alice, bob] = people
  await alice.open(bob.name)
  await bob.open(alice.name)
  return people
}

const drawn = (p) =>
  until(`${p.name} to see it whole`, () => p.page.locator('[role=log] .picture img:not(.thumb)').last().evaluate((i) => i.complete && i.naturalWidth > 0).catch(() => false))

/** How quickly somebody's page may send, in bytes a second; -1 for as it can. */
async function throttled(p) {
  const client = await p.context.newCDPSession(p.page)
  await client.send('Network.enable')
  return { slow: (bytes) => client.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: bytes }) }
}

/** A second of a film, with sound, recorded in a page. */
async function film(page) {
  const base64 = await page.evaluate(async () => {
    const canvas = document.createElement('canvas')
    ;[canvas.width, canvas.height] = [320, 180]
    const context = canvas.getContext('2d')
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: 'video/webm;codecs=vp8' })
    const parts = []
    recorder.ondataavailable = (e) => parts.push(e.data)
    recorder.start()
    const began = performance.now()
    await new Promise((done) => {
      const draw = () => {
        const t = performance.now() - began
        context.fillStyle = '#0b6bcb'
        context.fillRect(0, 0, 320, 180)
        context.fillStyle = '#ffe3d3'
        context.fillRect(t / 5, 60, 60, 60)
        if (t < 1_200) requestAnimationFrame(draw)
        else done()
      }
      draw()
    })
    await new Promise((done) => {
      recorder.onstop = done
      recorder.stop()
    })
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer())
    let s = ''
    for (const b of bytes) s += String.fromCharCode(b)
    return btoa(s)
  })
  return Buffer.from(base64, 'base64')
}

export default {
  async 'what was shared stands together, also on a device that has not fetched it yet, and leads to where it was said'(world) {
    const [alice, bob] = await talk(world)
    await attach(alice, await Promise.all([1, 2, 3, 4].map(async (i) => ({ name: `view ${i}.jpg`, mimeType: 'image/jpeg', buffer: await photo(alice.page, 600, 400, 70 * i) }))))
    await sendFiles(alice, 'Four of them')
    await attach(alice, { name: 'Route.pdf', mimeType: 'application/pdf', buffer: Buffer.alloc(2_000, '%PDF') }, 'Document')
    await sendFiles(alice)
    await bob.page.locator('[role=log] .card', { hasText: 'Route.pdf' }).waitFor()
    await burst(alice.page, 200)
    await bubble(alice, 'message 199').getByLabel(/Delivered|Read/).waitFor()

    const phone = await world.person('Bob', { viewport: { width: 390, height: 800 } })
    await phone.logIn(await bob.newPassword())
    await phone.open('Alice')
    await bubble(phone, 'message 199').waitFor()
    await bob.page.goto(bob.origin + '/')
    await bob.open('Alice')
    const seen = async (p) => {
      await p.page.locator('main header .open').click()
      await p.page.getByRole('button', { name: 'Photos, videos and files' }).click()
      const panel = p.page.getByRole('complementary', { name: 'Photos, videos and files' })
      const tiles = panel.getByRole('button', { name: /^Open: Photo/ })
      await p.page.getByRole('button', { name: 'Files and sound' }).waitFor()
      return { panel, tiles }
    }
    for (const p of [bob, phone]) {
      const { panel, tiles } = await seen(p)
      if (p === phone) {
        await panel.getByText('Nothing was shared here yet.').waitFor()
        // It comes page by page, and they need not be in the same one.
        const further = panel.getByRole('button', { name: 'Look further back' })
        await until('all four', async () => {
          if ((await further.isVisible()) && (await further.isEnabled())) await further.click()
          return (await tiles.count()) === 4
        })
      }
      await until('all four', async () => (await tiles.count()) === 4)
      await until('them as they are', () => panel.locator('img:not(.thumb)').evaluateAll((all) => all.length === 4 && all.every((i) => i.complete && i.naturalWidth > 0)))
      await audit(p.page, `what was shared, ${p === phone ? 'narrow' : 'wide'}`)
      await picture(p.page, `shared-${p === phone ? 'narrow' : 'wide'}`)
      // One goes from one to the next, also of those that are not near in the chat.
      const viewer = p.page.getByRole('dialog')
      await tiles.last().click()
      await viewer.getByRole('button', { name: 'Next' }).waitFor()
      check(!(await viewer.getByRole('button', { name: 'Previous' }).isVisible()), 'the first of them')
      for (let i = 0; i < 3; i++) await viewer.getByRole('button', { name: 'Next' }).click()
      await viewer.getByRole('button', { name: 'Next' }).waitFor({ state: 'hidden' })
      await p.page.keyboard.press('Escape')
      await viewer.waitFor({ state: 'hidden' })
      await panel.getByRole('button', { name: 'Files and sound' }).click()
      await panel.locator('.card', { hasText: 'Route.pdf' }).waitFor()
      await picture(p.page, `shared-files-${p === phone ? 'narrow' : 'wide'}`)
      // Where it was said, which is far from the newest.
      await panel.getByRole('button', { name: /^Alice, / }).click()
      await panel.waitFor({ state: 'hidden' })
      await until('the message to be on screen', () => p.page.locator('[role=log] .card', { hasText: 'Route.pdf' }).isVisible())
    }

    // What is taken back is not there any more, and one comes back from it by keyboard.
    await bob.page.reload()
    const { panel, tiles } = await seen(bob)
    await until('all four', async () => (await tiles.count()) === 4)
    await tiles.first().click()
    await bob.page.getByRole('dialog').waitFor()
    await bob.page.keyboard.press('Escape')
    await bob.page.getByRole('dialog').waitFor({ state: 'hidden' })
    await bob.page.keyboard.press('Escape') // back to who it is
    await panel.waitFor({ state: 'hidden' })
    const info = bob.page.getByRole('complementary', { name: 'Contact info' })
    await info.getByRole('button', { name: 'Photos, videos and files' }).click()
    await until('all four', async () => (await tiles.count()) === 4)
    await alice.page.reload()
    const shown = alice.page.locator('[role=log] .bubble').filter({ has: alice.page.locator('.picture') })
    await until('the beginning', async () => {
      await alice.page.getByRole('log').evaluate((log) => (log.scrollTop = 0))
      return alice.page.getByText('This is the beginning of your chat').isVisible()
    })
    await shown.first().click({ button: 'right', position: { x: 12, y: 12 } })
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await until('three to be left', async () => (await tiles.count()) === 3)
  },

}
