// SPDX-License-Identifier: Apache-2.0

import { createContext } from 'svelte'
import type { App } from '../app.svelte'

export const [getApp, setApp] = createContext<App>()
