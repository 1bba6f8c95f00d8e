// SPDX-License-Identifier: Apache-2.0

const POLL_MS = 250
const PEOPLE = ['Ada', 'Grace']
const $ = (id) => document.getElementById(id)

function button(text, act, node) {
  const b = document.createElement('button')
  b.textContent = text
  b.addEventListener('click', async () => {
    b.disabled = true
    try {
      const answer = await fetch(`/act/${act}${node ? `?node=${node}` : ''}`, { method: 'POST' })
      if (!answer.ok) $('judged').textContent = await answer.text()
    } catch {
      $('judged').textContent = 'The demo has ended.'
    } finally {
      b.disabled = act === 'cut' && !cuts
    }
  })
  return b
}

let cuts = true
const states = new Map()

function makeNodes(counters) {
  cuts = counters.cuts
  for (const { name } of counters.nodes) {
    const box = document.createElement('div')
    box.className = 'node'
    const title = document.createElement('strong')
    title.textContent = name
    const state = document.createElement('span')
    state.className = 'state'
    states.set(name, state)
    const cut = button(`Cut ${name}`, 'cut', name)
    cut.disabled = !cuts
    box.append(title, state, button(`Kill ${name}`, 'kill', name), button(`Freeze ${name}`, 'freeze', name), cut)
    $('nodes').append(box)
  }
  const all = document.createElement('div')
  all.className = 'all'
  all.append(button('All down', 'down'), button('Bring back', 'back'))
  $('nodes').append(all)
}

const seconds = (s) => `${s.toFixed(1)} s`

function show(counters) {
  if (states.size === 0) makeNodes(counters)
  for (const { name, state } of counters.nodes) {
    const at = states.get(name)
    at.textContent = state || 'runs'
    at.dataset.state = state
  }
  for (const key of ['ticked', 'lost', 'doubled', 'waiting']) $(key).textContent = counters[key].toLocaleString('en')
  for (const key of ['lost', 'doubled']) $(key).classList.toggle('bad', counters[key] > 0)
  $('gap').textContent = seconds(counters.gap)
  $('gap-most').textContent = seconds(counters.gapMost)
  if (counters.judged >= 0) $('judged').textContent = `The archives were read ${counters.judged.toFixed(0)} s ago, through each node that runs.`
}

async function poll() {
  try {
    show(await (await fetch('/counters')).json())
  } catch {
    $('judged').textContent = 'The demo has ended.'
  }
  setTimeout(poll, POLL_MS)
}

const windows = await (await fetch('/windows')).json()
for (const [i, src] of windows.entries()) {
  const frame = document.createElement('iframe')
  frame.src = src
  frame.title = PEOPLE[i]
  $('windows').append(frame)
}
poll()
