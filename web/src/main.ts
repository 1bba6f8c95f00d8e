// SPDX-License-Identifier: Apache-2.0

import '@fontsource-variable/atkinson-hyperlegible-next/wght.css'
import './ui/base.css'
import { mount } from 'svelte'
import { App } from './app.svelte'
import Shell from './ui/Shell.svelte'
import { look, settings } from './ui/settings'
import { language, preferred, speak, t } from './ui/strings'
import { update } from './update.svelte'

const target = document.getElementById('app')!

/** Says why there is no app. */
async function broken(why: string): Promise<void> {
  const { default: Broken } = await import('./ui/Broken.svelte')
  mount(Broken, { target, props: { why } })
}

async function start(): Promise<void> {
  look(settings.look)
  const wanted = preferred(settings.language, navigator.languages)
  await speak(wanted).catch((e: unknown) => console.warn('language:', e))
  document.documentElement.lang = language
  document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr'
  // Keys, locks and service workers exist on secure pages only.
  if (!isSecureContext) {
    return broken(t.broken.insecure)
  }
  try {
    mount(Shell, { target, props: { app: await App.boot() } })
    requestAnimationFrame(() => performance.mark('shown'))
  } catch (e) {
    console.error(e)
    await broken(t.broken.store)
  }
}

// A file that is let go beside the conversation must not take the app's place.
for (const type of ['dragover', 'drop'] as const) {
  addEventListener(type, (e) => e.dataTransfer?.types.includes('Files') && e.preventDefault())
}

void start().then(() => update.register())
