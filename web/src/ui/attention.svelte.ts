// SPDX-License-Identifier: Apache-2.0

/** Whether somebody looks at this tab: it is visible and has the keyboard. */
class Attention {
  here = $state(false)
  /** A finger rather than a mouse: keys on glass, no hovering. */
  readonly touch = matchMedia('(pointer: coarse)').matches

  constructor() {
    const look = (): void => {
      this.here = document.visibilityState === 'visible' && document.hasFocus()
    }
    for (const event of ['focus', 'blur', 'pageshow']) addEventListener(event, look)
    document.addEventListener('visibilitychange', look)
    look()
  }
}

export const attention = new Attention()

/** The time, for what is shown in relation to it; ticks once a second while somebody needs it. */
export class Clock {
  now = $state(Date.now())

  run(): () => void {
    this.now = Date.now()
    const timer = setInterval(() => (this.now = Date.now()), 1_000)
    return () => clearInterval(timer)
  }
}
