// SPDX-License-Identifier: Apache-2.0

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Tabs } from './tabs'

/** A browser's one lock: who holds it, and who waits. Node has none. */
class Lock {
  private holder: { end: (e?: Error) => void } | undefined
  private line: (() => void)[] = []

  request(_name: string, how: LockOptions, held: () => Promise<void> | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const grant = (): void => {
        const holder = { end: (e?: Error) => (e ? reject(e) : resolve()) }
        this.holder = holder
        void Promise.resolve(held()).then(() => {
          if (this.holder !== holder) return
          this.holder = undefined
          holder.end()
          this.line.shift()?.()
        })
      }
      how.signal?.addEventListener('abort', () => {
        this.line = this.line.filter((g) => g !== grant)
        reject(new Error('aborted'))
      })
      if (how.steal) {
        this.holder?.end(new Error('stolen'))
        queueMicrotask(grant)
      } else if (this.holder) this.line.push(grant)
      else queueMicrotask(grant)
    })
  }
}

/** A tab whose work waits until the test has it begin. */
class Tab {
  done: string[] = []
  waiting: (() => void)[] = []
  patient = true
  private leads = false
  private drop = new Set<() => void>()
  readonly tabs: Tabs

  constructor(name: string) {
    this.tabs = new Tabs({
      name,
      lead: () => (this.leads = true),
      lost: () => {
        this.leads = false
        for (const drop of this.drop) drop()
      },
      told: () => undefined,
      called: (method, _args, _until, begun) => {
        if (!this.leads) return Promise.reject(new Error('does not lead'))
        return new Promise((resolve, reject) => {
          const begin = (): void => {
            begun()
            this.done.push(method)
            resolve(`${method} done`)
          }
          if (!this.patient) begin()
          else {
            this.waiting.push(begin)
            this.drop.add(() => reject(new Error('dropped')))
          }
        })
      },
    })
  }

  begins(): Promise<void> {
    return vi.waitFor(() => expect(this.waiting).toHaveLength(1)).then(() => this.waiting[0]!())
  }
}

describe('tabs', () => {
  const name = 'tabs under test'
  let open: Tab[]

  beforeEach(() => {
    open = []
    vi.stubGlobal('navigator', { locks: new Lock() })
  })

  afterEach(() => {
    for (const tab of open) tab.tabs.close()
    vi.unstubAllGlobals()
  })

  const tab = (patient = false): Tab => {
    const t = new Tab(name)
    t.patient = patient
    open.push(t)
    return t
  }
  const leads = (t: Tab): Promise<void> => vi.waitFor(() => expect(t.tabs.leads).toBe(true))

  it('do themselves what was asked before anybody led', async () => {
    const first = tab()
    expect(await first.tabs.call('link')).toBe('link done')
    expect(first.done).toEqual(['link'])
  })

  it('ask the one who leads, once', async () => {
    const first = tab()
    await leads(first)
    const second = tab()
    expect(await second.tabs.call('link')).toBe('link done')
    expect([first.done, second.done]).toEqual([['link'], []])
  })

  it('have the next one do what the one who led had not begun', async () => {
    const first = tab(true)
    await leads(first)
    const [second, third] = [tab(), tab()]
    const links = [first.tabs.call('mine'), second.tabs.call('yours'), third.tabs.call('theirs')]
    await vi.waitFor(() => expect(first.waiting).toHaveLength(3))
    await second.tabs.wake() // the first answers: nothing happens
    expect(second.tabs.leads).toBe(false)
    // @ts-expect-error: as wake does when nobody answers
    second.tabs.stand({ steal: true })
    expect(await Promise.all(links)).toEqual(['mine done', 'yours done', 'theirs done'])
    expect(first.done).toEqual([])
    expect(second.done.sort()).toEqual(['mine', 'theirs', 'yours'])
  })

  it('leave the one who leads alone while it answers, and overtake it when it does not', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const first = tab()
      await leads(first)
      const second = tab()
      const woken = second.tabs.wake()
      await vi.waitFor(() => expect(second.tabs['heard']).toBe(true))
      await vi.advanceTimersByTimeAsync(5_000)
      await woken
      expect([first.tabs.leads, second.tabs.leads]).toEqual([true, false])
      first.tabs['channel'].onmessage = null
      void second.tabs.wake()
      await vi.advanceTimersByTimeAsync(3_900)
      expect(first.tabs.leads).toBe(true)
      await vi.advanceTimersByTimeAsync(200)
      await leads(second)
      expect(first.tabs.leads).toBe(false)
    } finally {
      vi.useRealTimers()
    }
  })

  it('do not do again what was begun by one who is gone', async () => {
    const first = tab(true)
    await leads(first)
    const second = tab()
    // It begins and never ends.
    first.tabs['options'].called = (_method, _args, _until, begun) => (begun(), new Promise(() => undefined))
    const link = second.tabs.call('link')
    const refused = expect(link).rejects.toThrow('is gone')
    await vi.waitFor(() => expect([...second.tabs['calls'].values()][0]?.has).toBe(true))
    first.tabs.close()
    await refused
    await leads(second)
    expect(second.done).toEqual([])
  })

  it('tell why something could not be done', async () => {
    const first = tab()
    await leads(first)
    first.tabs['options'].called = () => Promise.reject(new Error('forbidden'))
    await expect(tab().tabs.call('link')).rejects.toThrow('forbidden')
    await expect(first.tabs.call('link')).rejects.toThrow('forbidden')
  })
})
