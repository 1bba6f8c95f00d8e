// SPDX-License-Identifier: Apache-2.0

/**
 * The service worker keeps the app on the device, so that it opens without a
 * network. A new version is fetched in the background and taken when somebody
 * says so, or when no tab is open.
 */
class Update {
  ready = $state(false)
  private waiting: ServiceWorker | undefined
  private asked = false

  async register(): Promise<void> {
    if (!('serviceWorker' in navigator) || import.meta.env.DEV) return
    const registration = await navigator.serviceWorker.register(workerAddress(), { updateViaCache: 'none' })
    const look = (): void => {
      // Without a controller this is the first version, not a newer one.
      if (!registration.waiting || !navigator.serviceWorker.controller) return
      this.waiting = registration.waiting
      this.ready = true
    }
    look()
    // Another tab took the new version: the files of this one are gone, it needs it too.
    let first = navigator.serviceWorker.controller === null
    navigator.serviceWorker.addEventListener('controllerchange', () => {
      if (!first) this.reload()
      first = false
    })
    // A page that was still being loaded when the worker began was not claimed, and would not open its other parts without a network.
    if (first) void navigator.serviceWorker.ready.then((r) => r.active?.postMessage('claim'))
    registration.addEventListener('updatefound', () => {
      registration.installing?.addEventListener('statechange', look)
    })
    setInterval(() => void registration.update().catch(() => undefined), 60 * 60_000)
  }

  take(): void {
    this.asked = true
    if (this.waiting?.state === 'installed') this.waiting.postMessage('take over')
    else location.reload()
  }

  private reload(): void {
    if (this.asked || document.visibilityState === 'hidden') location.reload()
    else this.ready = true
  }
}

type Policy = { createScriptURL(address: string): string }

/** The page's policy lets code be loaded by name from here only (Trusted Types). */
function workerAddress(): string {
  const { trustedTypes } = globalThis as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }
  const policy = trustedTypes?.createPolicy('bavard-worker', { createScriptURL: () => '/sw.js' })
  return policy ? policy.createScriptURL('') : '/sw.js'
}

export const update = new Update()
