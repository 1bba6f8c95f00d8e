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
  async 'an answer to a photo shows it small, in the composer and for both, until the photo is deleted'(world) {
    const [alice, bob] = await talk(world)
    await attach(alice, [{ name: 'hills.jpg', mimeType: 'image/jpeg', buffer: await photo(alice.page, 1200, 900) }])
    await sendFiles(alice)
    await drawn(bob)
    await bob.page.locator('[role=log] .bubble').last().click({ button: 'right' })
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Reply', exact: true }).click()
    const small = (p, within) => p.page.locator(`${within} .quote img`)
    await until('it in the composer', () => small(bob, 'form').evaluate((i) => i.complete && i.naturalWidth > 0))
    check((await bob.page.locator('form .quote .words').innerText()) === 'Photo', 'it says what it is')
    await audit(bob.page, 'an answer to a photo')
    await bob.write('Where is that?')
    for (const p of [alice, bob]) {
      await small(p, '[role=log]').waitFor()
      check((await bubble(p, 'Where is that?').locator('.quote .words').innerText()) === 'Photo', 'it says what it is')
    }
    await picture(alice.page, 'quoted-photo')
    // It is not near any more: then the device is asked.
    for (let i = 0; i < 60; i++) await alice.write(`line ${i}`)
    await alice.write('and this')
    await bubble(bob, 'and this').waitFor()
    await bob.page.reload()
    await bubble(bob, 'and this').waitFor()
    for (const p of [bob, alice]) {
      await until('the beginning', async () => {
        await p.page.getByRole('log').evaluate((log) => (log.scrollTop = 0))
        return small(p, '[role=log]').isVisible()
      })
    }
    await alice.page.locator('[role=log] .bubble').filter({ has: alice.page.locator('.picture') }).click({ button: 'right', position: { x: 12, y: 12 } })
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    for (const p of [alice, bob]) await small(p, '[role=log]').waitFor({ state: 'detached' })
  },

  async 'a photo arrives, smaller and without what the camera wrote, and is looked at'(world) {
    const [alice, bob] = await talk(world)
    const jpeg = await photo(alice.page, 3000, 2000)
    check(jpeg.includes('SECRET'), 'the camera wrote something')
    await attach(alice, { name: 'IMG 0001.jpeg', mimeType: 'image/jpeg', buffer: jpeg })
    await alice.page.getByText('without the place and the camera').waitFor()
    await sendFiles(alice, 'The hill behind our house')
    await bubble(alice, 'The hill').getByLabel(/Delivered|Read/).waitFor()
    await pictures(bob).waitFor()
    await drawn(bob)
    const [got] = await files(bob.page)
    check(got.type === 'image/jpeg' && got.width === 2048 && got.height === 1365, `it is ${got.type} ${got.width} × ${got.height}`)
    check(got.thumb.startsWith('data:image/jpeg;base64,') && got.thumb.length < 3_000, `the small picture has ${got.thumb.length} characters`)
    check(got.url.startsWith(world.server.origin + '/upload/'), got.url)
    const bytes = Buffer.from(await (await fetch(got.url)).arrayBuffer())
    check(bytes.length === got.size && !bytes.includes('SECRET') && !bytes.includes('Exif'), 'what the camera wrote is gone')
    await bob.page.locator('nav a', { hasText: 'Photo: The hill' }).waitFor()

    await attach(alice, [1, 2].map((i) => ({ name: `more ${i}.jpg`, mimeType: 'image/jpeg', buffer: jpeg })))
    await sendFiles(alice)
    await until('three to be there', async () => (await pictures(bob).count()) === 3)
    await pictures(bob).first().click()
    const viewer = bob.page.getByRole('dialog')
    await viewer.getByText('The hill behind our house').waitFor()
    await bob.page.keyboard.press('ArrowRight')
    await bob.page.getByRole('dialog', { name: /more 1/ }).waitFor()
    await bob.page.keyboard.press('ArrowRight')
    await bob.page.getByRole('dialog', { name: /more 2/ }).waitFor()
    await viewer.getByRole('button', { name: 'Next' }).waitFor({ state: 'hidden' })
    await bob.page.keyboard.press('+')
    await until('it to be larger', () => viewer.locator('img').evaluate((i) => i.style.transform.includes('scale(1.5)')))
    await bob.page.keyboard.press('0')
    await viewer.getByRole('button', { name: 'Previous' }).click()
    await bob.page.getByRole('dialog', { name: /more 1/ }).waitFor()
    const download = bob.page.waitForEvent('download')
    await viewer.getByRole('button', { name: 'Save' }).click()
    check((await download).suggestedFilename() === 'more 1.jpg', 'it is saved under its name')
    for (let i = 0; i < 8; i++) {
      await bob.page.keyboard.press('Tab')
      check(await bob.page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null), 'the keyboard stays in the viewer')
    }
    await bob.page.keyboard.press('Escape')
    await viewer.waitFor({ state: 'hidden' })
    await bob.page.getByRole('textbox', { name: 'Message Alice' }).waitFor()
  },

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
      await p.page.getByRole('button', { name: 'Photos, files and links' }).click()
      const panel = p.page.getByRole('complementary', { name: 'Photos, files and links' })
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
          await further.click({ timeout: 500 }).catch(() => undefined) // it goes when there is nothing further back
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

    // One comes back from it by keyboard.
    await bob.page.reload()
    const { panel, tiles } = await seen(bob)
    await until('all four', async () => (await tiles.count()) === 4)
    await tiles.first().click()
    await bob.page.getByRole('dialog').waitFor()
    await bob.page.keyboard.press('Escape')
    await bob.page.getByRole('dialog').waitFor({ state: 'hidden' })
    await bob.page.keyboard.press('Escape') // back to who it is
    await panel.waitFor({ state: 'hidden' })
    await bob.page.getByRole('complementary', { name: 'Contact info' }).waitFor()
  },

  async 'pasted and dropped, answered, forwarded and deleted'(world) {
    const [alice, bob, carl] = await talk(world, 'Alice', 'Bob', 'Carl')
    const jpeg = (await photo(alice.page, 400, 300)).toString('base64')
    const give = (how) =>
      alice.page.evaluate(
        ([how, base64]) => {
          const data = new DataTransfer()
          data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], `${how}.jpg`, { type: 'image/jpeg' }))
          const area = document.querySelector('textarea')
          if (how === 'paste') area.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
          else for (const type of ['dragover', 'drop']) area.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }))
        },
        [how, jpeg],
      )
    await give('paste')
    await sendFiles(alice)
    await until('the first', async () => (await pictures(bob).count()) === 1)
    await give('drop')
    await sendFiles(alice, 'dropped')
    await until('the second', async () => (await pictures(bob).count()) === 2)
    await bubble(bob, 'dropped').click({ button: 'right', position: { x: 20, y: 20 } })
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Reply' }).click()
    await bob.write('pretty')
    await bubble(alice, 'pretty').locator('.quote', { hasText: 'dropped' }).waitFor()
    await bubble(bob, 'dropped').click({ button: 'right', position: { x: 20, y: 20 } })
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Forward' }).click()
    await bob.page.getByRole('dialog').getByText('Carl').click()
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Forward' }).click()
    await carl.open('Bob')
    await bubble(carl, 'dropped').waitFor()
    await drawn(carl)
    await bob.page.locator('main header .open').click()
    await bob.page.getByRole('button', { name: 'Photos, files and links' }).click()
    const shared = bob.page.getByRole('complementary', { name: 'Photos, files and links' }).getByRole('button', { name: /^Open: Photo/ })
    await until('both to be among what was shared', async () => (await shared.count()) === 2)
    await bubble(alice, 'dropped').click({ button: 'right', position: { x: 20, y: 20 } })
    await alice.page.getByRole('button', { name: 'Delete for everyone' }).click()
    await alice.page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click()
    await bubble(bob, 'This message was deleted').waitFor()
    await until('one picture to be left', async () => (await pictures(bob).count()) === 1)
    await until('it alone to be among what was shared', async () => (await shared.count()) === 1)
    await until('its file to be gone from his device', async () => (await files(bob.page)).length === 2) // the first, and what he forwarded himself
  },

  async 'the server is killed while a file is uploaded: it is there once, and what was said after it comes after it'(world) {
    const [alice, bob] = await talk(world)
    // Slow enough to be in the middle of it.
    const network = await throttled(alice)
    const plan = Buffer.alloc(3_000_000, 'bavard')
    for (let round = 0; round < 2; round++) {
      await network.slow(250_000)
      await attach(alice, { name: `plan ${round}.bin`, mimeType: 'application/octet-stream', buffer: plan }, 'Document')
      await sendFiles(alice, `file ${round}`)
      await alice.write(`said after file ${round}`)
      await bubble(alice, `said after file ${round}`).waitFor()
      const ring = alice.page.getByRole('progressbar')
      await until('some of it to be uploaded', async () => Number(await ring.getAttribute('aria-valuenow').catch(() => 0)) > 20)
      if (round === 1) {
        // The app dies as well.
        await alice.page.close()
        await world.server.kill()
        alice.page = await alice.tab('')
        await world.server.start()
        await alice.page.goto(world.server.origin + '/')
        await alice.open('Bob')
      } else {
        await world.server.kill()
        await network.slow(-1)
        await world.server.start()
      }
      await bubble(alice, `file ${round}`).getByLabel(/Delivered|Read/).waitFor()
    }
    const said = async (p) => (await stored(p.page)).map((m) => m.body).join('|')
    const wanted = 'file 0|said after file 0|file 1|said after file 1'
    for (const p of [alice, bob]) await until(`${p.name} to have it all once, in order`, async () => (await said(p)) === wanted)
    for (const { url, size } of await files(bob.page)) {
      const bytes = Buffer.from(await (await fetch(url)).arrayBuffer())
      check(size === plan.length && bytes.equals(plan), `${url} is whole`)
    }
    check(new Set((await files(bob.page)).map((f) => f.url)).size === 2, 'two files')
  },

  async 'files wait for the connection, outlive a reload, and can be taken back'(world) {
    const [alice, bob] = await talk(world)
    await alice.installed()
    await world.server.kill()
    const jpeg = await photo(alice.page, 600, 400, 200)
    for (const name of ['one', 'two']) {
      await attach(alice, { name: `${name}.jpg`, mimeType: 'image/jpeg', buffer: jpeg })
      await sendFiles(alice, name)
    }
    await bubble(alice, 'two').getByRole('progressbar', { name: 'Waiting to be uploaded' }).waitFor()
    check((await files(alice.page)).every((f) => f.kept && f.tick === 0), 'both are kept')
    await alice.page.reload()
    await drawn(alice)
    await bubble(alice, 'one').getByRole('button', { name: 'Do not send' }).click()
    await bubble(alice, 'one').waitFor({ state: 'detached' })
    await world.server.start()
    await bubble(bob, 'two').waitFor()
    await drawn(bob)
    check((await stored(bob.page)).map((m) => m.body).join() === 'two', 'one arrived')
    // Seen once, it is there without the server.
    await bubble(alice, 'two').getByLabel(/Delivered|Read/).waitFor()
    await until('it to be kept', async () => (await files(bob.page)).every((f) => f.kept))
    await bob.installed()
    await world.server.kill()
    await bob.page.reload()
    await drawn(bob)
    await world.server.start()
  },

  async 'documents are saved under their name and never run, films have a picture and play'(world) {
    const [alice, bob] = await talk(world)
    const evil = Buffer.from('<script>parent.postMessage("ran", "*")</script>')
    await attach(alice, { name: 'plan of the house.html', mimeType: 'text/html', buffer: evil }, 'Document')
    await alice.page.getByText('Sent as it is').waitFor()
    await sendFiles(alice)
    const card = bob.page.locator('[role=log] .card', { hasText: 'plan of the house.html' })
    await card.getByText(/47 bytes? · HTML/).waitFor()
    await bob.page.locator('nav a', { hasText: 'plan of the house.html' }).waitFor()
    const download = bob.page.waitForEvent('download')
    await card.getByRole('link', { name: 'Save plan of the house.html' }).click()
    check((await download).suggestedFilename() === 'plan of the house.html', 'it has its name')
    const answer = await fetch((await files(bob.page))[0].url)
    check(/^attachment/.test(answer.headers.get('content-disposition')) && answer.headers.get('content-type') === 'application/octet-stream', 'the server has it saved, not shown')

    await attach(alice, { name: 'clip.webm', mimeType: 'video/webm', buffer: await film(alice.page) })
    await sendFiles(alice)
    await bob.page.locator('[role=log] .bubble .picture .play').waitFor()
    const clip = await until('the film to be known', async () => (await files(bob.page)).find((f) => f.name === 'clip.webm'))
    check(clip.width === 320 && clip.height === 180 && clip.thumb?.length > 400, `its picture: ${clip.width} × ${clip.height}, ${clip.thumb?.length}`)
    const part = await fetch(clip.url, { headers: { Range: 'bytes=10-19' } })
    check(part.status === 206 && (await part.arrayBuffer()).byteLength === 10, 'it can be had in parts')
    await pictures(bob).last().click()
    await until('it to play', () => bob.page.locator('dialog video').evaluate((v) => v.currentTime > 0.2).catch(() => false))
    await bob.page.keyboard.press('Escape')
    await bob.page.locator('nav a', { hasText: 'Video' }).waitFor()
  },

  async 'a voice message is recorded, heard, and faster'(world) {
    const [alice, bob] = await talk(world)
    const mic = alice.page.getByRole('button', { name: 'Record a voice message' })
    await mic.click()
    await recorded(alice, 1)
    await bob.page.locator('main header', { hasText: 'recording…' }).waitFor()
    await picture(bob.page, 'x-media-recorded-for')
    await alice.page.getByRole('button', { name: 'Discard recording' }).click()
    await mic.waitFor()
    await bob.page.getByText('recording…').first().waitFor({ state: 'detached' })
    check((await stored(alice.page)).length === 0, 'what was discarded is not sent')

    await mic.click()
    const began = Date.now()
    await recorded(alice, 2)
    await alice.page.getByRole('button', { name: 'Send voice message' }).click()
    await bob.page.locator('nav a', { hasText: /Voice message \(\d:\d\d\)/ }).waitFor()
    const [voice] = await files(bob.page)
    check(/^audio\/(webm|ogg|mp4)$/.test(voice.type) && voice.length > 1_500 && voice.length < Date.now() - began + 5_000, `${voice.type}, ${voice.length} ms`)
    const wave = Buffer.from(voice.wave, 'base64')
    check(wave.length === 64 && Math.max(...wave) === 255, 'it has a waveform')

    const sound = bob.page.locator('[role=log] .bubble .sound').last()
    await sound.getByRole('button', { name: 'Speed: 1' }).click()
    await sound.getByRole('button', { name: 'Speed: 1.5' }).click()
    await sound.getByRole('button', { name: 'Speed: 2' }).click()
    // It is short: when it was heard to its end before we looked, once more.
    await until('it to be heard, and stopped', async () => {
      const play = sound.getByRole('button', { name: 'Play' })
      if (await play.isVisible()) await play.click()
      if ((await sound.locator('.heard').count()) <= 3) return false
      return sound.getByRole('button', { name: 'Pause' }).click({ timeout: 1_000 }).then(() => true, () => false)
    })
    await sound.getByRole('button', { name: 'Play' }).waitFor()

    await bubble(bob, '').click({ button: 'right', position: { x: 150, y: 60 } })
    const download = bob.page.waitForEvent('download')
    await bob.page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
    check(/^voice-.*\.(webm|ogg|m4a)$/.test((await download).suggestedFilename()), 'it is saved')

    // Held, it goes when one lets go.
    await mic.hover()
    await alice.page.mouse.down()
    await recorded(alice, 1)
    await alice.page.mouse.up()
    await until('the second', async () => (await files(bob.page)).length === 2)
    await alice.page.evaluate(() => (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))))
    await mic.click()
    await alice.page.getByRole('alert').getByText('bavard may not use the microphone').waitFor()
  },

  async 'in a group, light and dark, wide and narrow, from the right: axe finds nothing serious'(world) {
    const invites = world.server.invites(2)
    const anna = await world.person('Anna Keller', { reducedMotion: 'reduce' })
    await anna.join(invites[0])
    const omar = await world.person('عمر', { locale: 'ar', colorScheme: 'dark', viewport: { width: 390, height: 760 }, reducedMotion: 'reduce' })
    omar.page = await omar.tab(invites[1])
    await omar.page.getByRole('textbox').fill('عمر')
    await omar.page.getByRole('textbox').press('Enter')
    await anna.page.locator('nav a', { hasText: 'عمر' }).waitFor()
    await anna.page.goto(world.server.origin + '/?group')
    await anna.page.getByLabel('Name of the group').fill('Hikers')
    await anna.page.getByRole('group', { name: 'Contacts' }).getByText('عمر').click()
    await anna.page.getByRole('button', { name: 'Create group' }).click()
    await anna.page.getByRole('textbox', { name: 'Message Hikers' }).waitFor()

    await anna.page.getByRole('button', { name: 'Attach' }).click()
    await anna.page.getByText('Photos and videos').waitFor()
    await audit(anna.page, 'where to take files from')
    await anna.page.keyboard.press('Escape')
    const photos = await Promise.all([20, 190].map((hue) => photo(anna.page, 1600, 1100, hue)))
    await attach(anna, photos.map((buffer, i) => ({ name: `hill ${i}.jpg`, mimeType: 'image/jpeg', buffer })))
    await until('both to be ready', () => anna.page.getByRole('button', { name: 'Send 2 files' }).isEnabled())
    await audit(anna.page, 'files to send')
    await picture(anna.page, 'x-media-attach')
    await sendFiles(anna, 'From the top. Two hours, and nobody else up there.')
    await attach(anna, { name: 'Route to the hut.pdf', mimeType: 'application/pdf', buffer: Buffer.alloc(284_000, '%PDF') }, 'Document')
    await sendFiles(anna)
    await anna.page.getByRole('button', { name: 'Record a voice message' }).click()
    await recorded(anna, 2)
    await audit(anna.page, 'recording')
    await picture(anna.page, 'x-media-recording')
    await anna.page.getByRole('button', { name: 'Send voice message' }).click()

    await omar.page.locator('nav a', { hasText: /Anna Keller: رسالة صوتية \(\d:\d\d\)/ }).waitFor()
    await omar.page.locator('nav a', { hasText: 'Hikers' }).click()
    await until('both photos', async () => (await pictures(omar).count()) === 2)
    await drawn(omar)
    const wide = await omar.page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
    check(!wide, 'nothing sticks out')
    await audit(omar.page, 'files in Arabic, dark, narrow')
    await picture(omar.page, 'media-phone')
    await pictures(omar).first().click()
    await until('it to be drawn', () => omar.page.locator('dialog img:not(.thumb)').evaluate((i) => i.naturalWidth > 0).catch(() => false))
    await audit(omar.page, 'viewer in Arabic, narrow')
    await picture(omar.page, 'x-media-viewer-phone')
    // From the right, the next is to the left.
    await omar.page.keyboard.press('ArrowLeft')
    await omar.page.getByRole('dialog', { name: /hill 1/ }).waitFor()
    await omar.page.keyboard.press('Escape')
    await audit(anna.page, 'files in a group')
    await anna.page.getByRole('log').evaluate((log) => (log.scrollTop = log.scrollHeight))
    await picture(anna.page, 'media')
    await pictures(anna).last().click()
    await audit(anna.page, 'viewer')
    await picture(anna.page, 'x-media-viewer')
  },

  async 'what the server does not take is told, before it is sent and after'(world) {
    const [alice] = await talk(world)
    await attach(alice, { name: 'nothing.txt', mimeType: 'text/plain', buffer: Buffer.alloc(0) }, 'Document')
    await alice.page.getByRole('alert').getByText('There is nothing in this file.').waitFor()
    check(!(await alice.page.getByRole('button', { name: 'Send 1 file' }).isEnabled()), 'it cannot be sent')
    await alice.page.keyboard.press('Escape')
    // More than one may upload, in a file that says that it is smaller: the server refuses it.
    await alice.page.evaluate(() => {
      const size = Object.getOwnPropertyDescriptor(Blob.prototype, 'size')
      Object.defineProperty(Blob.prototype, 'size', { get: () => 200 * 1024 * 1024, configurable: true })
      globalThis.honest = () => Object.defineProperty(Blob.prototype, 'size', size)
    })
    await attach(alice, { name: 'large.bin', mimeType: 'application/octet-stream', buffer: Buffer.from('12345') }, 'Document')
    await alice.page.getByRole('alert').getByText('Too large: this server takes at most 105 MB.').waitFor()
    await alice.page.evaluate(() => globalThis.honest())
  },

  async 'where there is no room left, it is said, and tried again with the file'(world) {
    const directory = mkdtempSync(join(tmpdir(), 'e2e-media-'))
    writeFileSync(join(directory, 'bavard.toml'), '[upload]\naccount_files = 1\n')
    const server = await Server.start('--config', join(directory, 'bavard.toml'))
    world.origin = server.origin
    try {
      const alice = await world.person('Alice')
      await alice.join(server.invites(1)[0])
      await alice.page.goto(server.origin + '/c/alice@localhost')
      for (const name of ['first.txt', 'second.txt']) {
        await attach(alice, { name, mimeType: 'text/plain', buffer: Buffer.from(name) }, 'Document')
        await sendFiles(alice, name)
        if (name === 'first.txt') await bubble(alice, name).getByLabel(/Sent|Delivered|Read/).waitFor()
      }
      const said = alice.page.getByText('There is no room left for your files on the server.')
      await said.waitFor()
      await alice.page.getByRole('button', { name: 'Try again' }).click()
      await until('it to be tried again', async () => (await files(alice.page)).every((f) => f.key !== 2))
      await said.waitFor()
      check((await files(alice.page)).every((f) => f.kept), 'it is kept all the same')
      await alice.page.getByRole('button', { name: 'Delete', exact: true }).click()
      await said.waitFor({ state: 'detached' })
      check((await files(alice.page)).length === 1, 'it is gone')
      await world.people.pop().close()
    } finally {
      world.origin = undefined
      await server.close()
      rmSync(directory, { recursive: true })
    }
  },

  async 'other clients see it, and their files are shown'(world) {
    world.server.user('sly', password)
    world.server.user('prof', password)
    const [sly, prof] = [new Slixmpp(), new Profanity()]
    const directory = mkdtempSync(join(tmpdir(), 'e2e-media-'))
    try {
      const port = Number(world.server.addresses.c2s.split(':').at(-1))
      await sly.do('connect', { jid: 'sly@localhost/one', password, host: 'localhost', port, ca: join(world.server.data, 'tls/ca.crt') })
      await sly.event('session_start', () => true)
      await sly.do('available')
      const anna = await greets(world, 'Anna', 'sly@localhost', 'Hello slixmpp')
      const png = Buffer.from(
        await anna.page.evaluate(() => {
          const canvas = document.createElement('canvas')
          canvas.getContext('2d').fillRect(20, 20, 90, 60)
          return canvas.toDataURL('image/png').split(',')[1]
        }),
        'base64',
      )
      await attach(anna, { name: 'square.png', mimeType: 'image/png', buffer: png })
      await sendFiles(anna)
      const got = await sly.event('message', (m) => m.body?.includes('/upload/'))
      const answer = await fetch(got.body)
      check(answer.ok && answer.headers.get('content-type') === 'image/png', `${got.body}: ${answer.status}`)
      const elsewhere = 'https://elsewhere.example/upload/x/y.jpg'
      await sly.do('send', { to: 'anna@localhost', body: elsewhere })
      await bubble(anna, elsewhere).getByRole('link').waitFor()

      writeFileSync(join(directory, 'from prof.png'), png)
      await prof.start()
      await prof.shows('Profanity')
      prof.type(`/connect prof@localhost server 127.0.0.1 port ${port} tls trust`)
      await prof.shows('Enter password:')
      prof.type(password)
      await prof.shows('logged in successfully')
      prof.type('/msg anna@localhost Look at this')
      await anna.page.locator('nav a', { hasText: 'Look at this' }).waitFor() // by then it knows where files go
      prof.type(`/sendfile "${join(directory, 'from prof.png')}"`)
      await anna.page.locator('nav a', { hasText: 'Photo' }).waitFor()
      await anna.open('prof')
      await bubble(anna, 'Look at this').waitFor()
      await drawn(anna)
    } finally {
      sly.close()
      prof.close()
      rmSync(directory, { recursive: true, force: true })
    }
  },
}
