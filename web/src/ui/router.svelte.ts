// SPDX-License-Identifier: Apache-2.0

import { conversation } from '../wire/jid'

/** The app's addresses. Every screen has one, so that back, reload and links work. */
export type Route =
  | { at: 'list' }
  | { at: 'chat'; peer: string }
  | { at: 'new' }
  | { at: 'me' }
  | { at: 'starred' }
  | { at: 'archived' }
  | { at: 'devices' }
  | { at: 'group' } // a new one
  | { at: 'invite'; token: string }
  | { at: 'link' } // this device to an account
  | { at: 'join' } // without an invite

function read(): Route {
  const { pathname, search } = location
  const [, first, rest] = /^\/(i|c|chat)\/([^/]+)$/.exec(pathname) ?? []
  const value = rest === undefined ? '' : decode(rest)
  if (first === 'i') return { at: 'invite', token: value }
  const peer = first === undefined ? undefined : conversation(value)
  if (peer) return { at: 'chat', peer }
  if (search === '?new') return { at: 'new' }
  if (search === '?me') return { at: 'me' }
  if (search === '?starred') return { at: 'starred' }
  if (search === '?archived') return { at: 'archived' }
  if (search === '?devices') return { at: 'devices' }
  if (search === '?group') return { at: 'group' }
  if (search === '?link') return { at: 'link' }
  if (search === '?join') return { at: 'join' }
  return { at: 'list' }
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s)
  } catch {
    return s
  }
}

export function pathOf(route: Route): string {
  switch (route.at) {
    case 'chat':
      return '/chat/' + encodeURIComponent(route.peer).replace('%40', '@')
    case 'invite':
      return '/i/' + encodeURIComponent(route.token)
    case 'list':
      return '/'
    default:
      return '/?' + route.at
  }
}

class Router {
  route = $state.raw<Route>(read())

  constructor() {
    addEventListener('popstate', () => (this.route = read()))
  }

  /** How many screens of ours lie below this one: going back that far stays in the app. */
  private get depth(): number {
    return (history.state as { depth?: number } | null)?.depth ?? 0
  }

  go(route: Route): void {
    // One chat takes the place of another, and of the screen where it was
    // chosen; all else lies on top of what was there.
    const from = this.route.at
    const over = from === 'list' || (from === 'chat' && route.at !== 'chat')
    if (over) history.pushState({ depth: this.depth + 1 }, '', pathOf(route))
    else history.replaceState({ depth: this.depth }, '', pathOf(route))
    this.route = route
  }

  /** Leaves this screen. */
  home(): void {
    if (this.depth > 0) history.back()
    else {
      history.replaceState({ depth: 0 }, '', '/')
      this.route = { at: 'list' }
    }
  }
}

export const router = new Router()

/** For links: an ordinary click stays in the app, any other is the browser's. */
export function follow(route: Route): (e: MouseEvent) => void {
  return (e) => {
    if (e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return
    e.preventDefault()
    router.go(route)
  }
}
