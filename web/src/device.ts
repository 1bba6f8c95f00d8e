// SPDX-License-Identifier: Apache-2.0

/** What the browser says of itself, in words that its owner knows it by in the list of devices. */
export function thisDevice(agent = navigator.userAgent): { software: string; device: string } {
  const browser =
    /Firefox|FxiOS/.test(agent) ? 'Firefox' : /Edg/.test(agent) ? 'Edge' : /OPR/.test(agent) ? 'Opera' : /Chrome|CriOS/.test(agent) ? 'Chrome' : /Safari/.test(agent) ? 'Safari' : ''
  const system =
    /iPhone/.test(agent) ? 'iPhone' : /iPad/.test(agent) ? 'iPad' : /Android/.test(agent) ? 'Android' : /Windows/.test(agent) ? 'Windows' : /Mac OS X/.test(agent) ? 'Mac' : /CrOS/.test(agent) ? 'ChromeOS' : /Linux/.test(agent) ? 'Linux' : ''
  return { software: 'bavard', device: [browser, system].filter(Boolean).join(' · ') || 'Web' }
}

/** The name with a mark by which a device knows itself in the list: the server's names for devices are its own. */
export function named<D extends { device: string }>(device: D, id: string): D {
  return { ...device, device: `${device.device} #${markOf(id)}` }
}

export function markOf(id: string): string {
  return id.slice(0, 6)
}
