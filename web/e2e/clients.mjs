// SPDX-License-Identifier: Apache-2.0

// The app in a browser chats with other people's clients: slixmpp over
// STARTTLS, and Profanity on a terminal.

import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { check, picture, shown, until, web } from './harness.mjs'

export const password = 'correct horse battery'

/** slixmpp, driven by a JSON object a line: see interop/testdata/slixmpp_peer.py and slixmpp_rooms.py. */
export class Slixmpp {
  #process
  #lines = []
  #n = 0

  constructor(script = 'slixmpp_peer.py') {
    this.#process = spawn('/usr/bin/python3', [join(web, '../interop/testdata', script)], { stdio: ['pipe', 'pipe', 'ignore'] })
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#lines.push(JSON.parse(line)))
  }

  async do(command, args = {}) {
    const n = ++this.#n
    this.#process.stdin.write(JSON.stringify({ do: command, n, ...args }) + '\n')
    const answer = await until(`slixmpp to answer ${command}`, () => this.#lines.find((l) => l.n === n))
    check(!answer.error, `slixmpp: ${command}: ${answer.error}`)
    return answer.ok
  }

  event(what, match) {
    return until(`slixmpp to see ${what}`, () => this.#lines.find((l) => l.event === what && match(l)))
  }

  close() {
    this.#process.kill('SIGKILL')
  }
}

/** Profanity on the screen of a tmux server of its own. */
export class Profanity {
  #dir = mkdtempSync(join(tmpdir(), 'e2e-prof-'))
  #server = spawn('tmux', ['-D', '-u', '-S', join(this.#dir, 's'), '-f', '/dev/null'], {
    stdio: 'ignore',
    env: {
      ...process.env,
      TERM: 'screen-256color',
      LC_ALL: 'C.UTF-8',
      XDG_CONFIG_HOME: join(this.#dir, 'cfg'),
      XDG_DATA_HOME: join(this.#dir, 'data'),
    },
  })
  #pid

  #tmux(...args) {
    return execFileSync('tmux', ['-N', '-S', join(this.#dir, 's'), ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  }

  async start() {
    await until('tmux to start', () => {
      try {
        return this.#tmux('new-session', '-d', '-x', '160', '-y', '45', '-s', 'p', 'profanity') !== undefined
      } catch {
        return false // its socket is not there yet
      }
    })
    this.#pid = Number(this.#tmux('list-panes', '-a', '-F', '#{pane_pid}'))
  }

  type(line) {
    this.#tmux('send-keys', '-t', 'p', '-l', line)
    this.#tmux('send-keys', '-t', 'p', 'Enter')
  }

  shows(text) {
    return until(`Profanity to show ${text}`, () => this.#tmux('capture-pane', '-p', '-t', 'p').includes(text))
  }

  close() {
    if (this.#pid) process.kill(this.#pid, 'SIGKILL')
    this.#server.kill('SIGKILL')
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** Somebody in the app who has opened the chat with an address and said hello. */
export async function greets(world, name, address, text) {
  const person = await world.person(name)
  const [invite] = world.server.invites(1)
  await person.join(invite)
  await person.page.goto(`${world.server.origin}/c/${address}`)
  await person.write(text)
  await person.page.locator('.bubble', { hasText: text }).getByLabel(/Sent|Delivered|Read/).waitFor()
  return person
}

const conversation = (person, expected) =>
  until(`${person.name} to see ${expected}`, async () => (await shown(person.page)).join('|') === expected)

export default {
  async 'slixmpp and the app chat, with ticks'(world) {
    world.server.user('sly', password)
    const sly = new Slixmpp()
    try {
      const port = Number(world.server.addresses.c2s.split(':').at(-1))
      await sly.do('connect', { jid: 'sly@localhost/one', password, host: 'localhost', port, ca: join(world.server.data, 'tls/ca.crt') })
      await sly.event('session_start', () => true)
      await sly.do('available')
      const anna = await greets(world, 'Anna', 'sly@localhost', 'Hello slixmpp')
      const got = await sly.event('message', (m) => m.body === 'Hello slixmpp')
      check(got.from.startsWith('anna@localhost/'), `from ${got.from}`)
      await anna.page.locator('.bubble').getByLabel('Delivered').waitFor()
      await sly.do('send', { to: 'anna@localhost', body: 'Hello app', receipt: true })
      await conversation(anna, '> Hello slixmpp|Hello app')
      await sly.event('receipt', () => true)
      await sly.do('displayed', { to: 'anna@localhost', id: got.id })
      await anna.page.locator('.bubble').getByLabel('Read').waitFor()
    } finally {
      sly.close()
    }
  },

  async 'Profanity and the app chat'(world) {
    world.server.user('prof', password)
    const prof = new Profanity()
    try {
      await prof.start()
      await prof.shows('Profanity')
      const port = world.server.addresses.c2s.split(':').at(-1)
      prof.type(`/connect prof@localhost server 127.0.0.1 port ${port} tls trust`)
      await prof.shows('Enter password:')
      prof.type(password)
      await prof.shows('logged in successfully')
      const anna = await greets(world, 'Petra', 'prof@localhost', 'Hello Profanity')
      prof.type('/msg petra@localhost Bonjour the app')
      await conversation(anna, '> Hello Profanity|Bonjour the app')
      await prof.shows('Hello Profanity')
      await anna.write('and back')
      await prof.shows('and back')
    } finally {
      prof.close()
    }
  },

  async 'what somebody in a room writes privately is a conversation with them'(world) {
    world.server.user('hal', password)
    const sly = new Slixmpp('slixmpp_rooms.py')
    try {
      const port = Number(world.server.addresses.c2s.split(':').at(-1))
      await sly.do('connect', { jid: 'hal@localhost/one', password, host: 'localhost', port, ca: join(world.server.data, 'tls/ca.crt') })
      const anna = await world.person('Ines')
      const [invite] = world.server.invites(1)
      await anna.join(invite)
      const room = 'hall@rooms.localhost'
      await sly.do('enter', { room, nick: 'Sly' })
      await sly.do('configure', { room, values: { 'muc#roomconfig_roomname': 'Hall' } })
      await sly.do('invite', { room, jid: 'ines@localhost', reason: 'Come and listen' })
      await anna.page.locator('nav a', { hasText: 'Hall' }).click()
      await anna.page.getByRole('button', { name: 'Join' }).click()
      await anna.page.getByRole('textbox', { name: 'Message Hall' }).waitFor()
      await sly.event('occupant', (o) => o.nick === 'Ines')
      await sly.do('whisper', { occupant: `${room}/Ines`, body: 'Only for you' })
      await anna.open('Sly · Hall')
      await conversation(anna, 'Only for you')
      await anna.write('And only for Sly')
      await sly.event('message', (m) => m.body === 'And only for Sly' && m.from === `${room}/Ines`)
      await anna.page.reload()
      await anna.page.getByRole('textbox', { name: 'Message Sly · Hall' }).waitFor()
      await conversation(anna, 'Only for you|> And only for Sly')
      await picture(anna.page, 'private')
    } finally {
      sly.close()
    }
  },

  async 'Profanity is in a group that the app has made'(world) {
    world.server.user('bass', password)
    const prof = new Profanity()
    try {
      await prof.start()
      await prof.shows('Profanity')
      const port = world.server.addresses.c2s.split(':').at(-1)
      prof.type(`/connect bass@localhost server 127.0.0.1 port ${port} tls trust`)
      await prof.shows('Enter password:')
      prof.type(password)
      await prof.shows('logged in successfully')
      const anna = await greets(world, 'Greta', 'bass@localhost', 'Will you sing with us?')
      await anna.page.goto(world.server.origin + '/?group')
      await anna.page.getByLabel('Name of the group').fill('Choir')
      await anna.page.getByText('bass', { exact: true }).click()
      await anna.page.getByRole('button', { name: 'Create group' }).click()
      await anna.page.getByRole('textbox', { name: 'Message Choir' }).waitFor()
      const room = decodeURIComponent(new URL(anna.page.url()).pathname.replace('/chat/', ''))
      prof.type(`/join ${room} nick Bass`)
      await prof.shows('You have joined the room as Bass') // what is typed before goes to another window
      prof.type('I will be there')
      const said = anna.page.locator('.bubble', { hasText: 'I will be there' })
      await said.waitFor()
      check(/bass/i.test(await said.locator('.from').innerText()), 'it says who wrote')
      await anna.write('Bring the others')
      await prof.shows('Bring the others')
    } finally {
      prof.close()
    }
  },
}
