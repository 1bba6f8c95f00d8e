// SPDX-License-Identifier: Apache-2.0

/**
 * Every word that the app shows, in one place, so that there can be other
 * languages: they are in `words/` and say the same. What depends on a number or
 * a name is a function.
 */
const en = {
  app: 'bavard',
  close: 'Close',
  back: 'Back',
  cancel: 'Cancel',
  copy: 'Copy',
  copied: 'Copied',
  you: 'You',

  chats: 'Chats',
  newChat: 'New chat',
  yourProfile: 'You',
  search: 'Search',
  clearSearch: 'Clear search',
  archived: 'Archived',
  pinned: 'pinned',
  muted: 'muted',
  filters: { all: 'All', unread: 'Unread', groups: 'Groups' },
  noneIn: { all: '', unread: 'You have read everything.', groups: 'You are in no group yet.' },
  nothingFound: 'Nothing found',
  messagesFound: 'Messages',
  sayHello: 'Say hello',
  wantsToConnect: 'Wants to connect with you',
  typing: 'typing…',
  recording: 'recording…',
  typingBy: (name: string, more: number, voice: boolean) => (more ? `${name} and ${more} more are typing…` : `${name} is ${voice ? t.recording : t.typing}`),
  online: 'online',
  draft: 'Draft:',
  unread: (n: number) => (n === 1 ? '1 unread message' : `${n} unread messages`),
  noChats: 'No chats yet',
  noChatsHint: 'Start one with somebody’s address, or send them your link.',
  pickChat: 'Pick a chat, or start a new one.',
  tagline: 'Chat that arrives.',

  contacts: 'Contacts',

  messagesWith: (name: string) => `Messages with ${name}`,
  message: 'Message',
  writeTo: (name: string) => `Message ${name}`,
  send: 'Send',
  unreadDivider: (n: number) => (n === 1 ? '1 unread message' : `${n} unread messages`),
  loadingOlder: 'Loading older messages…',
  beginning: 'This is the beginning of your chat.',
  emptyChat: (name: string) => `Nothing here yet. Say hello to ${name}.`,
  olderWait: 'Older messages come when you are connected.',
  toNewest: 'To the newest message',
  readMore: 'Read more',
  today: 'Today',
  yesterday: 'Yesterday',
  tooLong: 'That is too long for one message.',
  notKept: 'This device could not keep the message. Is its storage full?',
  saidBy: (name: string) => `${name}:`,

  kinds: { image: 'Photo', video: 'Video', voice: 'Voice message', audio: 'Audio', file: 'Document' },
  attach: 'Attach',
  record: 'Record a voice message',
  reply: 'Reply',
  react: 'React',
  more: 'More',
  menuOf: 'What to do with this message',
  reactWith: (emoji: string) => `React with ${emoji}`,
  reactedBy: (emoji: string, names: string) => `${emoji} by ${names}`,
  otherEmoji: 'Another emoji',
  emoji: 'Emoji',
  copyText: 'Copy text',
  forward: 'Forward',
  forwardTo: 'Forward to',
  nobodyToChoose: 'There is nobody yet.',
  edit: 'Edit',
  edited: 'edited',
  editing: 'Edit message',
  save: 'Save',
  star: 'Star',
  unstar: 'Remove star',
  starredMark: 'Starred',
  starred: 'Starred messages',
  noStars: 'Star a message to find it here again. It is starred on all your devices.',
  info: 'Message info',
  readBy: 'Read by',
  notYetReadBy: 'Not read yet by',
  deleteForAll: 'Delete for everyone',
  deleteTitle: 'Delete this message for everyone?',
  deleteHint: 'Everybody’s app is told to remove it. Whoever has read it knows it all the same.',
  deleted: 'This message was deleted',
  youDeleted: 'You deleted this message',
  encrypted: (method: string) => `This message is encrypted${method ? ` (${method})` : ''}. bavard cannot read such messages yet; the app it was written for can.`,
  encryptedShort: 'Encrypted message',
  undone: 'This change was not made.',
  toQuoted: (name: string) => `Go to the message by ${name} that this answers`,
  quotedUnknown: 'A message',
  notFoundQuoted: 'That message is not there any more.',
  replyingTo: (name: string) => `Reply to ${name}`,
  replyToSelf: 'Reply to yourself',

  tickWords: (tick: number): string => ['Waiting to be sent', 'Sent', 'Delivered', 'Read'][tick] ?? 'Not sent',
  notSent: 'Not sent.',
  refusal: (condition: string, text: string): string => {
    switch (condition) {
      case 'item-not-found':
      case 'service-unavailable':
      case 'recipient-unavailable':
        return 'There is nobody with this address.'
      case 'remote-server-not-found':
      case 'remote-server-timeout':
        return 'Their server cannot be reached.'
      case 'forbidden':
      case 'not-allowed':
      case 'not-acceptable':
        return 'They do not take messages from you.'
      case 'file-too-large':
        return 'The file is too large.'
      case 'file-quota':
        return 'There is no room left for your files on the server.'
      case 'file-unsupported':
        return 'This server takes no files.'
      case 'file-refused':
        return 'The server does not take this file.'
      case 'gone':
        return 'The file is not on this device any more.'
      case 'policy-violation':
      case 'resource-constraint':
        return text || 'The server does not take it now.'
      default:
        return text || 'The server did not take it.'
    }
  },
  retry: 'Try again',
  delete: 'Delete',

  request: (name: string) => `${name} wants to see when you are online.`,
  allow: 'Allow',
  notNow: 'Not now',

  picture: {
    change: 'Change picture',
    remove: 'Remove picture',
    unreadable: 'This file is no picture that the browser can read.',
  },
  contact: {
    info: 'Contact info',
    name: 'Name',
    rename: 'Change name',
    shared: 'Groups you share',
    block: (name: string) => `Block ${name}`,
    unblock: (name: string) => `Unblock ${name}`,
    blocked: (name: string) => `You have blocked ${name}.`,
    blockTitle: (name: string) => `Block ${name}?`,
    blockHint: 'They can no longer write to you or see when you are online. They are not told.',
    blockSure: 'Block',
  },
  group: {
    name: 'Name of the group',
    description: 'Description',
    people: 'Members',
    make: 'Create group',
    making: 'One moment…',
    notNow: 'That needs a connection. Try again in a moment.',
    failed: (why: string) => (why.includes('not connected') || why === '' ? 'That needs a connection. Try again in a moment.' : `The group says no: ${why}`),
    privacy: 'Only members see a group, and who is in it.',
    info: 'Group info',
    members: (n: number) => (n === 1 ? '1 member' : `${n} members`),
    here: (n: number) => (n === 1 ? '1 person here' : `${n} people here`),
    onlyAdmins: 'Only admins write',
    anyoneInvites: 'Members may add others',
    onlyAdminsHint: 'Only admins can write here.',
    add: 'Add members',
    owner: 'Owner',
    admin: 'Admin',
    makeAdmin: 'Make admin',
    unmakeAdmin: 'No longer admin',
    remove: 'Remove',
    write: (name: string) => `Message ${name}`,
    leave: 'Leave group',
    leaveTitle: (name: string) => `Leave ${name}?`,
    leaveHint: 'You see no more of what is said there. What you have stays on this device.',
    left: 'You left this group.',
    removed: 'You are no longer in this group.',
    gone: 'This group does not exist any more.',
    invited: (by: string, name: string) => `${by} invites you to the group ${name}.`,
    join: 'Join',
    forget: 'Remove from list',
    invitation: 'Invites you to a group',
    event: (kind: string, who: string, name: string): string => {
      switch (kind) {
        case 'created':
          return `${who} created the group`
        case 'joined':
          return `${who} joined`
        case 'left':
          return `${who} left`
        case 'admin':
          return `${who} is an admin now`
        case 'member':
          return `${who} is no longer an admin`
        case 'named':
          return `The group is called ${name} now`
        default:
          return who
      }
    },
    youEvent: (kind: string): string => {
      switch (kind) {
        case 'created':
          return 'You created the group'
        case 'joined':
          return 'You joined'
        case 'left':
          return 'You left'
        case 'admin':
          return 'You are an admin now'
        default:
          return 'You are no longer an admin'
      }
    },
    mentioned: 'You were mentioned',
    mention: 'Mention somebody',
  },
}

export type Strings = typeof en

/** The words in the person's language. */
export let t: Strings = en

/** Languages by their own names. */
export const LANGUAGES = { en: 'English', fr: 'Français', es: 'Español', ar: 'العربية' } as const
export type Language = keyof typeof LANGUAGES

/** The language in use; also that of dates. */
export let language: Language = 'en'

const WORDS: Record<Exclude<Language, 'en'>, () => Promise<{ words: Strings }>> = {
  fr: () => import('./words/fr'),
  es: () => import('./words/es'),
  ar: () => import('./words/ar'),
}

function isLanguage(s: string | null | undefined): s is Language {
  return s !== null && s !== undefined && Object.hasOwn(LANGUAGES, s)
}

/** The language that the person chose, or that of the browser. */
export function preferred(chosen: string | null, browser: readonly string[]): Language {
  if (isLanguage(chosen)) return chosen
  return browser.map((l) => l.slice(0, 2).toLowerCase()).find(isLanguage) ?? 'en'
}

/** From now on in that language; before anything is shown. Stays English when its words cannot be had. */
export async function speak(wanted: Language): Promise<void> {
  if (wanted === 'en') return
  t = (await WORDS[wanted]()).words
  language = wanted
}
