// SPDX-License-Identifier: Apache-2.0

/** Two soft notes, the second higher: frequencies in Hz, and when each begins, in seconds. */
const NOTES: readonly (readonly [number, number])[] = [[659, 0], [880, 0.12]]
const LOUD = 0.12
const NOTE_S = 0.35
/** Of several messages, and several tabs, one is heard in so long. */
const APART_MS = 2_000

let context: AudioContext | undefined

/** Says by a sound that something has come; nothing where the browser lets this page make none, or another tab does. */
export async function chime(): Promise<void> {
  // Pages that nobody has touched are not heard.
  if (!navigator.userActivation.hasBeenActive) return
  await navigator.locks.request('bavard sound', { ifAvailable: true }, async (lock) => {
    if (!lock) return
    context ??= new AudioContext()
    await context.resume()
    for (const [pitch, at] of NOTES) play(context, pitch, context.currentTime + at)
    await new Promise((done) => setTimeout(done, APART_MS))
  })
}

function play(context: AudioContext, pitch: number, at: number): void {
  const [note, loudness] = [new OscillatorNode(context, { frequency: pitch }), new GainNode(context, { gain: 0 })]
  loudness.gain.linearRampToValueAtTime(LOUD, at + 0.015)
  loudness.gain.exponentialRampToValueAtTime(0.001, at + NOTE_S)
  note.connect(loudness).connect(context.destination)
  note.start(at)
  note.stop(at + NOTE_S)
}
