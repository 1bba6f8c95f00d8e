// SPDX-License-Identifier: Apache-2.0

/** Puts a directive of Message Styling around what is selected in a field, in each of its lines, or takes it away; one step back undoes it. */
export function wrap(area: HTMLTextAreaElement, mark: string): void {
  const { value } = area
  let { selectionStart: from, selectionEnd: to } = area
  // Whitespace beside a directive would make it none (XEP-0393 §span @1.1.1).
  while (from < to && /\s/.test(value[from]!)) from++
  while (to > from && /\s/.test(value[to - 1]!)) to--
  const before = value[from - 1] === mark && value[to] === mark && to > from
  if (before) {
    from--
    to++
  }
  const lines = value.slice(from, to).split('\n')
  const off = lines.every((line) => line.length > 2 && line.startsWith(mark) && line.endsWith(mark))
  const text = lines.map((line) => (off ? line.slice(1, -1) : line.trim() === '' && lines.length > 1 ? line : line.replace(/^(\s*)(.*?)(\s*)$/, `$1${mark}$2${mark}$3`))).join('\n')
  area.setSelectionRange(from, to)
  // Whatever takes its place forgets what can be undone.
  document.execCommand('insertText', false, text)
  if (from === to) area.setSelectionRange(from + 1, from + 1)
  else area.setSelectionRange(from + (lines.length === 1 && !off ? 1 : 0), from + text.length - (lines.length === 1 && !off ? 1 : 0))
}
