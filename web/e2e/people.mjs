// SPDX-License-Identifier: Apache-2.0

// How people come together: the directory of those who want to be found, codes
// to scan; and which of all chats are shown.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import encodeQR from 'qr'
import { audit } from './access.mjs'
import { browser, check, meta, picture, until } from './harness.mjs'
import { chatOf, seed, village } from './seed.mjs'

const WIDE = { width: 1180, height: 760 }
const NARROW = { width: 390, height: 760 }

/** People who do not know each other, each on the list of chats. */
async function strangers(world, ...names) {
  const people = []
  for (const name of names) {
    const p = await world.person(name)
    await p.join(world.server.invites(1)[0])
    people.push(p)
  }
  return people
}

/** The switch by which somebody lets others find them, once it is known how it is. */
async function findMe(p) {
  await p.page.goto(p.origin + '/?me')
  await p.page.getByRole('button', { name: 'Privacy' }).click()
  const box = p.page.getByRole('switch', { name: 'Let others find me' })
  await box.and(p.page.locator(':enabled')).waitFor()
  return box
}

const addressOf = async (p) => (await meta(p.page, 'account')).jid

async function seek(p, text) {
  await p.page.goto(p.origin + '/?new')
  await p.page.getByLabel('Name, address or link').fill(text)
}

const others = (p) => p.page.getByRole('region', { name: 'Others on this server' })
const nobody = (p) => others(p).getByText('Nobody else who wants to be found here')

/** The same screen in both lights, wide and narrow. */
async function everyWay(page, name) {
  for (const [how, viewport, colorScheme] of [['wide', WIDE, 'light'], ['wide-dark', WIDE, 'dark'], ['narrow', NARROW, 'light'], ['narrow-dark', NARROW, 'dark']]) {
    await page.setViewportSize(viewport)
    await page.emulateMedia({ colorScheme })
    await audit(page, `${name}, ${how}`)
    check(!(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)), `${name}, ${how}: something sticks out`)
    await picture(page, `people-${name}-${how}`)
  }
  await page.setViewportSize(WIDE)
  await page.emulateMedia({ colorScheme: 'light' })
}

/** A film of nothing but a code (YUV4MPEG2, 4:2:0): dark on light, somewhat smaller than the picture. */
function film(text) {
  const [width, height, left, top] = [640, 480, 150, 70]
  const rows = encodeQR(text, 'raw', { ecc: 'medium', border: 4 })
  const each = Math.floor(340 / rows.length)
  const light = Buffer.alloc(width * height, 210)
  rows.forEach((row, y) =>
    row.forEach((on, x) => {
      for (let i = 0; i < each; i++) light.fill(on ? 30 : 235, (top + y * each + i) * width + left + x * each, (top + y * each + i) * width + left + (x + 1) * each)
    }),
  )
  const frame = Buffer.concat([Buffer.from('FRAME\n'), light, Buffer.alloc((width * height) / 2, 128)])
  return Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F10:1 Ip A1:1 C420jpeg\n`), frame, frame])
}

/** Who comes meanwhile has a browser with these flags. */
async function elsewhere(world, flags, work) {
  const before = world.browser
  const there = world.people.length
  world.browser = await browser(false, ...flags)
  try {
    await work()
    world.noErrors()
  } finally {
    for (const p of world.people.splice(there)) await p.close()
    await world.browser.close()
    world.browser = before
  }
}

/** The same with a camera that sees this. */
async function seeing(world, text, work) {
  const dir = mkdtempSync(join(tmpdir(), 'bavard-e2e-film-'))
  const file = join(dir, 'code.y4m')
  writeFileSync(file, film(text))
  await elsewhere(world, [`--use-file-for-fake-video-capture=${file}`], work).finally(() => rmSync(dir, { recursive: true }))
}

/** Somebody about to scan, whose page tells whether its cameras run. */
async function scanner(world, name) {
  const p = await world.person(name)
  await p.context.addInitScript(() => {
    globalThis.cameras = []
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
    navigator.mediaDevices.getUserMedia = async (what) => {
      const stream = await ask(what)
      cameras.push(...stream.getTracks())
      return stream
    }
  })
  await p.join(world.server.invites(1)[0])
  return p
}

const running = (p) => p.page.evaluate(() => cameras.map((c) => `${c.kind} ${c.readyState}`).join())

async function scan(p) {
  await p.page.goto(p.origin + '/?new')
  await p.page.getByRole('button', { name: 'Scan a code' }).click()
  const dialog = p.page.getByRole('dialog', { name: 'Scan a code' })
  await dialog.waitFor()
  return dialog
}

export default {
  async 'who wants to be found is found by name, is written to, and is found no longer when they like'(world) {
    const [anna, zoe] = await strangers(world, 'Anna', 'Zoë Müller')
    await seek(anna, 'müll')
    await nobody(anna).waitFor()
    const box = await findMe(zoe)
    check(!(await box.isChecked()), 'nobody is in the directory who did not ask for it')
    await zoe.page.getByText('Everybody on this server can then find you by your name').waitFor()
    await box.check()
    await zoe.page.getByText('You are found as Zoë Müller.').waitFor()
    await everyWay(zoe.page, 'find-me')
    check(await (await findMe(zoe)).isChecked(), 'it is known to be so')

    await seek(anna, 'MÜLL')
    await others(anna).getByRole('link', { name: 'Zoë Müller' }).waitFor()
    await others(anna).getByText(await addressOf(zoe)).waitFor()
    await everyWay(anna.page, 'found')
    await anna.page.getByLabel('Name, address or link').focus()
    for (const key of ['ArrowDown', 'ArrowUp', 'Enter', 'Enter']) await anna.page.keyboard.press(key)
    await anna.page.locator('main header', { hasText: 'Zoë Müller' }).waitFor()
    await anna.write('Is that you?')
    await zoe.page.goto(zoe.origin + '/')
    await zoe.page.locator('nav a', { hasText: 'Is that you?' }).waitFor()
    await anna.page.locator('nav a', { hasText: 'Zoë Müller' }).waitFor()

    // A contact is found among the contacts, and not twice.
    await zoe.open('Anna')
    await zoe.page.getByRole('button', { name: 'Allow' }).click()
    await anna.page.locator('main header', { hasText: 'online' }).waitFor()
    await seek(anna, 'müll')
    await nobody(anna).waitFor()
    check((await anna.page.getByRole('link', { name: 'Zoë Müller' }).count()) === 1, 'once')

    const [bob] = await strangers(world, 'Bob')
    await seek(bob, 'zo')
    await others(bob).getByRole('link', { name: 'Zoë Müller' }).waitFor()
    await (await findMe(zoe)).uncheck()
    await zoe.page.getByText('You are found as').waitFor({ state: 'detached' })
    await seek(bob, 'zo')
    await nobody(bob).waitFor()
  },

  async 'who is called something else is found by that, and by that only'(world) {
    const [anna, bob] = await strangers(world, 'Anna', 'Bob')
    await (await findMe(anna)).check()
    await anna.page.getByText('You are found as Anna.').waitFor()
    await anna.page.keyboard.press('Escape')
    await anna.page.getByRole('button', { name: 'Edit profile' }).click()
    await anna.page.getByLabel('Your name').fill('Carlotta')
    await anna.page.getByRole('button', { name: 'Save' }).click()
    await anna.page.locator('aside').getByText('Carlotta').first().waitFor()
    await findMe(anna)
    await anna.page.getByText('You are found as Carlotta.').waitFor()
    await seek(bob, 'carl')
    await others(bob).getByRole('link', { name: 'Carlotta' }).waitFor()
    // Who is not in the directory does not get into it by that.
    await bob.page.goto(bob.origin + '/?me')
    await bob.page.getByRole('button', { name: 'Edit profile' }).click()
    await bob.page.getByLabel('Your name').fill('Robert')
    await bob.page.getByRole('button', { name: 'Save' }).click()
    await bob.page.locator('aside').getByText('Robert').first().waitFor()
    check(!(await (await findMe(bob)).isChecked()), 'Bob is not listed')
  },

  async 'that many searches are too many, and that there is no connection, is said, and then it goes on'(world) {
    const [anna] = await strangers(world, 'Anna')
    await seek(anna, 'nobody')
    await nobody(anna).waitFor()
    const field = anna.page.getByLabel('Name, address or link')
    const many = others(anna).getByText('Those were many searches.')
    for (let i = 0; i < 60 && !(await many.isVisible()); i++) {
      await field.fill(`nobody ${i}`)
      await anna.page.waitForTimeout(350)
    }
    await many.waitFor()
    await nobody(anna).waitFor()

    await world.server.kill()
    await anna.page.getByText('Finding others on this server needs a connection.').waitFor()
    await audit(anna.page, 'new chat without a connection')
    await picture(anna.page, 'people-offline')
    await anna.page.getByRole('button', { name: 'Back' }).click()
    await anna.page.getByRole('link', { name: 'You', exact: true }).click()
    await anna.page.getByRole('button', { name: 'Privacy' }).click()
    await anna.page.getByText('Whether others can find you is seen when you are connected.').waitFor()
    check(await anna.page.getByRole('switch', { name: 'Let others find me' }).isDisabled(), 'it cannot be changed then')
    await picture(anna.page, 'people-offline-privacy')
    await world.server.start()
    await anna.page.getByRole('switch', { name: 'Let others find me' }).and(anna.page.locator(':enabled')).waitFor()
  },

  async 'of many people there are some at first, and more when asked'(world) {
    const p = await world.person('Anna')
    const item = (i) => `<item jid='zed${i}@localhost'><nick>Zed ${i}</nick></item>`
    const items = (from, to) => Array.from({ length: to - from }, (_, i) => item(from + i)).join('')
    const set = (last) => `<set xmlns='http://jabber.org/protocol/rsm'><first>x</first><last>${last}</last></set>`
    let after
    await p.context.routeWebSocket(/xmpp-websocket/, (ws) => {
      const server = ws.connectToServer()
      ws.onMessage((text) => {
        if (/jabber:iq:search/.test(text)) after = /<after>([^<]*)</.exec(text)?.[1]
        server.send(text)
      })
      // The server's own answers, as if there were more people in it.
      server.onMessage((text) => {
        const page = after === undefined ? items(0, 50) + set('zed49@localhost') : after === 'zed49@localhost' ? items(49, 60) + set('zed59@localhost') : ''
        ws.send(String(text).replace(/<query xmlns=['"]jabber:iq:search['"](?:\/>|>.*?<\/query>)/, `<query xmlns='jabber:iq:search'>${page}</query>`))
      })
    })
    await p.join(world.server.invites(1)[0])
    await seek(p, 'zed')
    const more = others(p).getByRole('button', { name: 'Show more' })
    await more.waitFor()
    const links = others(p).getByRole('link')
    check((await links.count()) === 50, 'fifty at first')
    await more.click()
    await others(p).getByRole('link', { name: 'Zed 59' }).waitFor()
    check((await links.count()) === 60, 'each once')
    await more.click()
    await more.waitFor({ state: 'detached' })
    check((await links.count()) === 60, 'and that is all')
  },

  async 'where the server has no directory there is nothing of it'(world) {
    const p = await world.person('Anna')
    await p.context.routeWebSocket(/xmpp-websocket/, (ws) => {
      const server = ws.connectToServer()
      server.onMessage((text) => ws.send(String(text).replace(/<item [^>]*people\.localhost[^>]*\/>/, '')))
    })
    await p.join(world.server.invites(1)[0])
    await p.page.goto(p.origin + '/?me')
    await p.page.getByRole('button', { name: 'Privacy' }).click()
    await p.page.getByLabel('Read receipts').and(p.page.locator(':enabled')).waitFor()
    await p.page.waitForTimeout(1_000)
    check((await p.page.getByRole('dialog').getByRole('switch').count()) === 1, 'there is only the one for receipts')
    await seek(p, 'anybody')
    await p.page.waitForTimeout(1_000)
    check((await others(p).count()) === 0, 'nothing is searched')
  },

  async 'one’s own code leads to oneself, out of a picture too; what a code says that leads nowhere is shown'(world) {
    const [anna, bob] = await strangers(world, 'Anna', 'Bob')
    await anna.page.goto(anna.origin + '/?new')
    await picture(anna.page, 'people-new')
    await anna.page.getByRole('button', { name: 'Show as a code' }).click()
    const code = anna.page.getByRole('img', { name: 'Your link as a code to scan' })
    await code.waitFor()
    await everyWay(anna.page, 'own-code')
    const shot = await code.screenshot()

    const dialog = await scan(bob)
    const choose = (name, buffer) => dialog.locator('input[type=file]').setInputFiles({ name, mimeType: 'image/png', buffer })
    await choose('no.png', Buffer.from('this is no picture'))
    await dialog.getByText('This file is no picture that the browser can read.').waitFor()
    await choose('empty.png', await bob.page.getByRole('button', { name: 'Back' }).screenshot())
    await dialog.getByText('There is no code to be seen in this picture.').waitFor()
    await choose('anna.png', shot)
    await bob.page.getByRole('textbox', { name: /^Message / }).waitFor()
    check(bob.page.url() === `${bob.origin}/chat/${await addressOf(anna)}`, `it leads to ${bob.page.url()}`)

    const own = await scan(anna)
    await own.locator('input[type=file]').setInputFiles({ name: 'anna.png', mimeType: 'image/png', buffer: shot })
    await own.getByText('That is your own code.').waitFor()
  },

  async 'the camera reads somebody’s code, and is off when that is over'(world) {
    const [zoe] = await strangers(world, 'Zoe')
    await zoe.page.goto(zoe.origin + '/?new')
    await zoe.page.getByRole('button', { name: 'Show as a code' }).waitFor()
    await seeing(world, await zoe.page.locator('output').innerText(), async () => {
      const p = await scanner(world, 'Anna')
      await scan(p)
      await p.page.getByRole('textbox', { name: /^Message / }).waitFor()
      check(p.page.url() === `${p.origin}/chat/${await addressOf(zoe)}`, `it leads to ${p.page.url()}`)
      check((await running(p)) === 'video ended', `the camera: ${await running(p)}`)
      await p.write('I have seen your code')
      await zoe.page.goto(zoe.origin + '/')
      await zoe.page.locator('nav a', { hasText: 'I have seen your code' }).waitFor()
    })
  },

  async 'the camera reads an invite to a group'(world) {
    const [zoe] = await strangers(world, 'Zoe')
    await zoe.page.goto(zoe.origin + '/?group')
    await zoe.page.getByLabel('Name of the group').fill('Choir')
    await zoe.page.getByRole('button', { name: 'Create group' }).click()
    await zoe.page.getByRole('textbox', { name: 'Message Choir' }).waitFor()
    await zoe.page.locator('main header .open').click()
    await zoe.page.getByRole('button', { name: 'Invite by link' }).click()
    await zoe.page.getByRole('button', { name: 'Make a link' }).click()
    const link = await zoe.page.locator('output', { hasText: '/i/' }).innerText()
    await seeing(world, link, async () => {
      const p = await scanner(world, 'Anna')
      await scan(p)
      await p.page.getByRole('heading', { name: 'You are invited to Choir' }).waitFor()
      await p.page.getByRole('button', { name: 'Join' }).click()
      await p.page.getByRole('textbox', { name: 'Message Choir' }).waitFor()
      check((await running(p)) === 'video ended', `the camera: ${await running(p)}`)
    })
  },

  async 'a code that is something else is shown as what it says, while the camera goes on; closing ends it'(world) {
    await seeing(world, 'https://shop.example/only-today', async () => {
      const p = await scanner(world, 'Anna')
      const dialog = await scan(p)
      await dialog.getByText('https://shop.example/only-today').waitFor()
      await dialog.locator('video.seeing').waitFor()
      check((await running(p)) === 'video live', `the camera: ${await running(p)}`)
      await everyWay(p.page, 'scan')
      await p.page.keyboard.press('Escape')
      await dialog.waitFor({ state: 'detached' })
      await until('the camera to be off', async () => (await running(p)) === 'video ended')
    })
  },

  async 'that the camera may not be used, or that there is none, is said'(world) {
    for (const [flag, words] of [
      ['--use-fake-ui-for-media-stream=deny', 'This browser does not let bavard use the camera.'],
      ['--use-fake-device-for-media-stream=device-count=0', 'No camera can be used here now.'],
    ]) {
      await elsewhere(world, [flag], async () => {
        const p = await scanner(world, 'Anna')
        const dialog = await scan(p)
        await dialog.getByText(words).waitFor()
        await audit(p.page, words)
        await picture(p.page, `people-camera-${flag.split('=').at(-1)}`)
        await dialog.locator('input[type=file]').setInputFiles({ name: 'x.png', mimeType: 'image/png', buffer: await dialog.screenshot() })
        await dialog.getByText('There is no code to be seen in this picture.').waitFor()
      })
    }
  },

  async 'the list shows all chats, those that are not read, or groups'(world) {
    const p = await world.person('Jo', { reducedMotion: 'reduce' })
    const page = (p.page = await p.tab('/'))
    await page.getByLabel('Password').waitFor()
    const data = village()
    const now = Date.now()
    const unread = chatOf('ursula@localhost', 'Ursula', [[false, 'Have you read this?', now]], { unread: 1 })
    const put = chatOf('away@localhost', 'Put Away', [[false, 'long ago', now - 9e9]], { archivedAt: 1 })
    const read = chatOf('reader@localhost', 'Reader', [[false, 'read', now - 1_000]])
    await seed(page, { ...data, chats: [...data.chats, unread.chat, put.chat, read.chat], messages: [...data.messages, ...unread.messages, ...put.messages, ...read.messages] })
    await page.goto(world.server.origin + '/')
    const row = (name) => page.locator('nav a.row', { hasText: name })
    const chip = (name) => page.getByRole('group', { name: 'Chats' }).getByRole('button', { name, exact: true })
    await row('Ursula').waitFor()
    check((await chip('All').getAttribute('aria-pressed')) === 'true', 'all are shown at first')
    await page.locator('nav a.archived').waitFor()
    await everyWay(page, 'filters')

    // By the keyboard.
    await chip('All').focus()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Space')
    check((await chip('Unread').getAttribute('aria-pressed')) === 'true' && (await chip('All').getAttribute('aria-pressed')) === 'false', 'it says which')
    await row('Reader').waitFor({ state: 'detached' })
    await row('Ursula').waitFor()
    check((await page.locator('nav a.archived').count()) === 0, 'the archive is among all only')
    await picture(page, 'people-filter-unread')
    // What is opened there is read, and does not go from under one's eyes.
    await row('Ursula').click()
    await row('Ursula').getByLabel('1 unread message').waitFor({ state: 'detached' })
    await row('Ursula').waitFor()
    await page.keyboard.press('Escape')
    await row('Ursula').waitFor({ state: 'detached' })

    await chip('Groups').click()
    await row('Hikers').or(page.locator('nav a.row')).first().waitFor()
    check((await row('Reader').count()) === 0, 'people are no groups')
    // Another screen, and back: it is as it was.
    await page.getByRole('link', { name: 'New chat' }).first().click()
    await page.getByRole('button', { name: 'Back' }).click()
    check((await chip('Groups').getAttribute('aria-pressed')) === 'true', 'it stays')
    // What is sought is sought among all.
    await page.getByRole('searchbox').fill('put away')
    await row('Put Away').waitFor()
    check((await chip('Groups').count()) === 0, 'there is nothing to choose meanwhile')
    await page.getByRole('button', { name: 'Clear search' }).click()
    await row('Put Away').waitFor({ state: 'detached' })
    check((await chip('Groups').getAttribute('aria-pressed')) === 'true', 'and then it is as before')
    await p.close()
  },

  async 'where nothing is unread, and no group, it says so'(world) {
    const [anna] = await world.friends('Anna', 'Bob')
    for (const [chip, words] of [['Unread', 'You have read everything.'], ['Groups', 'You are in no group yet.']]) {
      await anna.page.getByRole('button', { name: chip, exact: true }).click()
      await anna.page.locator('nav').getByText(words).waitFor()
      await audit(anna.page, `no ${chip}`)
      await picture(anna.page, `people-none-${chip.toLowerCase()}`)
    }
  },

  async 'all of it in Arabic, from the right, on a phone'(world) {
    const [zoe] = await strangers(world, 'Zoe')
    await (await findMe(zoe)).check()
    await zoe.page.getByText('You are found as Zoe.').waitFor()
    await seeing(world, 'https://shop.example/only-today', async () => {
      const p = await world.person('أنا', { locale: 'ar', viewport: NARROW, reducedMotion: 'reduce' })
      const page = (p.page = await p.tab(world.server.invites(1)[0]))
      await page.locator('input').first().fill('أنا')
      await page.locator('form .button').click()
      await page.getByRole('heading', { name: 'bavard', exact: true }).waitFor()
      await page.goto(p.origin + '/?new')
      await page.getByRole('button', { name: 'عرض كرمز' }).click()
      await page.getByRole('img', { name: 'رابطك كرمز للمسح' }).waitFor()
      await audit(page, 'new chat, ar')
      await picture(page, 'people-ar-new')
      await page.locator('form input').fill('zoe')
      await page.getByRole('region', { name: 'آخرون على هذا الخادم' }).getByRole('link', { name: 'Zoe' }).waitFor()
      await audit(page, 'found, ar')
      await picture(page, 'people-ar-found')
      await page.locator('form input').fill('')
      await page.getByRole('button', { name: 'مسح رمز' }).click()
      await page.getByRole('dialog').getByText('https://shop.example/only-today').waitFor()
      await audit(page, 'scan, ar')
      await picture(page, 'people-ar-scan')
      await page.keyboard.press('Escape')
      await page.goto(p.origin + '/?me')
      await page.getByRole('button', { name: 'الخصوصية' }).click()
      await page.getByRole('switch', { name: 'السماح للآخرين بالعثور عليّ' }).and(page.locator(':enabled')).check()
      await page.getByText('يُعثر عليك باسم أنا.').waitFor()
      await audit(page, 'privacy, ar')
      await picture(page, 'people-ar-privacy')
    })
  },
}
