// SPDX-License-Identifier: Apache-2.0

// In the app's page, in the demo alone: gives the name that the invite asks for.
const name = 'NAME'
const watch = new MutationObserver(join)

function join() {
  const field = document.querySelector('form input')
  const button = document.querySelector('form button[type=submit], form button')
  if (name === '' || !location.pathname.startsWith('/i/') || !field || !button) return
  watch.disconnect()
  field.value = name
  field.dispatchEvent(new Event('input', { bubbles: true }))
  setTimeout(() => button.click())
}

watch.observe(document.body, { childList: true, subtree: true })
join()
