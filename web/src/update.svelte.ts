// SPDX-License-Identifier: Apache-2.0

/**
 * The service worker keeps the app on the device, so that it opens without a
 * network. A new version is fetched in the background and taken when somebody
 * says so, or when no tab is open.
 */
class Update {
  ready = $state(false)
  private waiting: ServiceWorker | undefined

  async register(): Promise<void> {
    if (!('serviceWorker' in navigator) || import.meta.env.DEV) return
    const registration = await navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' })
    const look = (): void => {
      // Without a controller this is the first version, not a newer one.
      if (!registration.waiting || !navigator.serviceWorker.controller) return
      this.waiting = registration.waiting
      this.ready = true
    }
    look()
    registration.addEventListener('updatefound', () => {
      registration.installing?.addEventListener('statechange', look)
    })
    setInterval(() => void registration.update().catch(() => undefined), 60 * 60_000)
  }

  take(): void {
    navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true })
    this.waiting?.postMessage('take over')
  }
}

export const update = new Update()
