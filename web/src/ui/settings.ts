// SPDX-License-Identifier: Apache-2.0

/** What a person chose for this device alone; it is needed before anything is shown. */

export type Look = 'system' | 'light' | 'dark'

function read(key: string): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null // not allowed: then it is as the browser has it
  }
}

const stored = read('look')

export const settings = {
  language: read('language'),
  look: (stored === 'light' || stored === 'dark' ? stored : 'system') as Look,
  /** New messages are heard. */
  sound: read('sound') === 'on',
}

export function choose(key: 'language' | 'look' | 'sound', value: string): void {
  try {
    localStorage.setItem(key, value)
  } catch {
    // it holds for this page
  }
}

/** Light or dark, whatever the device is. */
export function look(how: Look): void {
  document.documentElement.dataset['look'] = how
}
