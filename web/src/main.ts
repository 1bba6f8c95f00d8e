// SPDX-License-Identifier: Apache-2.0

import '@fontsource-variable/atkinson-hyperlegible-next/wght.css'
import './ui/base.css'
import { mount, unmount } from 'svelte'
import { App } from './app.svelte'
import { LATE_MS } from './held'
import Shell from './ui/Shell.svelte'
import { look, settings } from './ui/settings'
import { language, preferred, speak } from './ui/strings'
import { update } from './update.svelte'

const target = document.getElementById('app')!

/** Says why there is no app; gives how to take that back. */
async function broken(why: 'held' | 'store' | 'insecure'): Promise<() => void> {
  const { default: Broken } = await import('./ui/Broken.svelte')
  const page = mount(Broken, { target, props: { why } })
  return () => void unmount(page)
}

async function start(): Promise<void> {
  look(settings.look)
  const wanted = preferred(settings.language, navigator.languages)
  await speak(wanted).catch((e: unknown) => console.warn('language:', e))
  document.documentElement.lang = language
  document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr'
  // Keys, locks and service workers exist on secure pages only.
  if (!isSecureContext) {
    await broken('insecure')
    return
  }
  let told: Promise<() => void> | undefined
  const late = setTimeout(() => (told = broken('held')), LATE_MS)
  const over = async (): Promise<void> => {
    clearTimeout(late)
    ;(await told)?.()
  }
  try {
    const app = await App.boot()
    await over()
    mount(Shell, { target, props: { app } })
    requestAnimationFrame(() => performance.mark('shown'))
  } catch (e) {
    console.error(e)
    await over()
    await broken('store')
  }
}

// A file that is let go beside the conversation must not take the app's place.
for (const type of ['dragover', 'drop'] as const) {
  addEventListener(type, (e) => e.dataTransfer?.types.includes('Files') && e.preventDefault())
}

void start().then(() => update.register())
