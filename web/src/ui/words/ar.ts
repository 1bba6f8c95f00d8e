// SPDX-License-Identifier: Apache-2.0

import type { Strings } from '../strings'

const rules = new Intl.PluralRules('ar')

/** Arabic counts in six ways; one and two need no number. */
function many(n: number, one: string, two: string, few: string, other: string): string {
  switch (rules.select(n)) {
    case 'one':
      return one
    case 'two':
      return two
    case 'few':
      return `${n} ${few}`
    default:
      return `${n} ${other}`
  }
}

const unread = (n: number): string => many(n, 'رسالة غير مقروءة', 'رسالتان غير مقروءتين', 'رسائل غير مقروءة', 'رسالة غير مقروءة')

export const words: Strings = {
  app: 'bavard',
  close: 'إغلاق',
  back: 'رجوع',
  cancel: 'إلغاء',
  copy: 'نسخ',
  copied: 'تم النسخ',
  you: 'أنت',

  chats: 'المحادثات',
  newChat: 'محادثة جديدة',
  yourProfile: 'أنت',
  search: 'بحث',
  clearSearch: 'مسح البحث',
  archived: 'المؤرشفة',
  pinned: 'مثبتة',
  muted: 'مكتومة',
  filters: { all: 'الكل', unread: 'غير مقروءة', groups: 'المجموعات' },
  noneIn: { all: '', unread: 'قرأت كل شيء.', groups: 'لست في أي مجموعة بعد.' },
  nothingFound: 'لا توجد نتائج',
  messagesFound: 'الرسائل',
  sayHello: 'ألقِ التحية',
  wantsToConnect: 'يريد التواصل معك',
  typing: 'يكتب…',
  recording: 'يسجّل…',
  typingBy: (name, more, voice) => (more ? `${name} و${more} غيره يكتبون…` : `${name} ${voice ? 'يسجّل' : 'يكتب'}…`),
  online: 'متصل',
  draft: 'مسودة:',
  unread,
  noChats: 'لا توجد محادثات بعد',
  noChatsHint: 'ابدأ واحدة بعنوان شخص ما، أو أرسل إليه رابطك.',
  pickChat: 'اختر محادثة، أو ابدأ واحدة جديدة.',
  tagline: 'رسائل تصل.',

  contacts: 'جهات الاتصال',

  messagesWith: (name) => `الرسائل مع ${name}`,
  message: 'رسالة',
  writeTo: (name) => `رسالة إلى ${name}`,
  send: 'إرسال',
  unreadDivider: unread,
  loadingOlder: 'جارٍ تحميل الرسائل الأقدم…',
  beginning: 'هذه بداية المحادثة.',
  emptyChat: (name) => `لا شيء هنا بعد. ألقِ التحية على ${name}.`,
  olderWait: 'تأتي الرسائل الأقدم عند الاتصال.',
  toNewest: 'إلى أحدث رسالة',
  readMore: 'اقرأ المزيد',
  today: 'اليوم',
  yesterday: 'أمس',
  tooLong: 'هذا أطول من رسالة واحدة.',
  notKept: 'لم يستطع هذا الجهاز حفظ الرسالة. هل امتلأت ذاكرته؟',
  saidBy: (name) => `${name}:`,

  kinds: { image: 'صورة', video: 'فيديو', voice: 'رسالة صوتية', audio: 'صوت', file: 'مستند' },
  attach: 'إرفاق',
  record: 'تسجيل رسالة صوتية',
  reply: 'رد',
  react: 'تفاعل',
  more: 'المزيد',
  menuOf: 'ما يمكن فعله بهذه الرسالة',
  reactWith: (emoji) => `تفاعل بـ ${emoji}`,
  reactedBy: (emoji, names) => `${emoji} من ${names}`,
  otherEmoji: 'رمز آخر',
  emoji: 'الرموز',
  copyText: 'نسخ النص',
  forward: 'إعادة توجيه',
  forwardTo: 'إعادة التوجيه إلى',
  nobodyToChoose: 'لا أحد بعد.',
  edit: 'تعديل',
  edited: 'معدّلة',
  editing: 'تعديل الرسالة',
  save: 'حفظ',
  star: 'تمييز بنجمة',
  unstar: 'إزالة النجمة',
  starredMark: 'مميزة بنجمة',
  starred: 'الرسائل المميزة',
  noStars: 'ميّز رسالة بنجمة لتجدها هنا. وتكون مميزة على كل أجهزتك.',
  info: 'معلومات الرسالة',
  readBy: 'قرأها',
  notYetReadBy: 'لم يقرأها بعد',
  deleteForAll: 'حذف لدى الجميع',
  deleteTitle: 'حذف هذه الرسالة لدى الجميع؟',
  deleteHint: 'يُطلب من تطبيق كل شخص إزالتها. ومن قرأها يعرفها على أي حال.',
  deleted: 'حُذفت هذه الرسالة',
  youDeleted: 'حذفتَ هذه الرسالة',
  encrypted: (method) => `هذه الرسالة مشفّرة${method ? ` (${method})` : ''}. لا يستطيع bavard قراءة مثلها بعد؛ يستطيع ذلك التطبيق الذي كُتبت له.`,
  encryptedShort: 'رسالة مشفّرة',
  undone: 'لم يتم هذا التغيير.',
  toQuoted: (name) => `إلى رسالة ${name} التي هذا رد عليها`,
  quotedUnknown: 'رسالة',
  notFoundQuoted: 'لم تعد تلك الرسالة موجودة.',
  replyingTo: (name) => `رد على ${name}`,
  replyToSelf: 'رد على نفسك',

  tickWords: (tick) => ['بانتظار الإرسال', 'أُرسلت', 'وصلت', 'قُرئت'][tick] ?? 'لم تُرسل',
  notSent: 'لم تُرسل.',
  refusal: (condition, text) => {
    switch (condition) {
      case 'item-not-found':
      case 'service-unavailable':
      case 'recipient-unavailable':
        return 'لا أحد بهذا العنوان.'
      case 'remote-server-not-found':
      case 'remote-server-timeout':
        return 'لا يمكن الوصول إلى خادمه.'
      case 'forbidden':
      case 'not-allowed':
      case 'not-acceptable':
        return 'لا تُقبل رسائلك.'
      case 'file-too-large':
        return 'الملف كبير جدًا.'
      case 'file-quota':
        return 'لم يبق مكان لملفاتك على الخادم.'
      case 'file-unsupported':
        return 'هذا الخادم لا يقبل الملفات.'
      case 'file-refused':
        return 'لا يقبل الخادم هذا الملف.'
      case 'gone':
        return 'لم يعد الملف على هذا الجهاز.'
      case 'policy-violation':
      case 'resource-constraint':
        return text || 'لا يقبلها الخادم الآن.'
      default:
        return text || 'لم يقبلها الخادم.'
    }
  },
  retry: 'إعادة المحاولة',
  delete: 'حذف',

  request: (name) => `يريد ${name} أن يرى متى تكون متصلًا.`,
  allow: 'سماح',
  notNow: 'ليس الآن',

  picture: {
    change: 'تغيير الصورة',
    remove: 'إزالة الصورة',
    unreadable: 'هذا الملف ليس صورة يستطيع المتصفح قراءتها.',
  },
  contact: {
    info: 'معلومات جهة الاتصال',
    name: 'الاسم',
    rename: 'تغيير الاسم',
    shared: 'مجموعات مشتركة',
    block: (name) => `حظر ${name}`,
    unblock: (name) => `إلغاء حظر ${name}`,
    blocked: (name) => `لقد حظرت ${name}.`,
    blockTitle: (name) => `حظر ${name}؟`,
    blockHint: 'لن يستطيع الكتابة إليك ولا أن يرى متى تكون متصلًا. ولن يُبلَّغ بذلك.',
    blockSure: 'حظر',
  },
  group: {
    name: 'اسم المجموعة',
    description: 'الوصف',
    people: 'الأعضاء',
    make: 'إنشاء المجموعة',
    making: 'لحظة…',
    notNow: 'يحتاج هذا إلى اتصال. حاول مجددًا بعد قليل.',
    failed: (why) => (why.includes('not connected') || why === '' ? 'يحتاج هذا إلى اتصال. حاول مجددًا بعد قليل.' : `رفضت المجموعة: ${why}`),
    privacy: 'لا يرى المجموعة ومن فيها إلا أعضاؤها.',
    info: 'معلومات المجموعة',
    members: (n) => many(n, 'عضو واحد', 'عضوان', 'أعضاء', 'عضوًا'),
    here: (n) => many(n, 'شخص واحد هنا', 'شخصان هنا', 'أشخاص هنا', 'شخصًا هنا'),
    onlyAdmins: 'المشرفون وحدهم يكتبون',
    anyoneInvites: 'للأعضاء أن يضيفوا غيرهم',
    onlyAdminsHint: 'المشرفون وحدهم يكتبون هنا.',
    add: 'إضافة أعضاء',
    owner: 'المالك',
    admin: 'مشرف',
    makeAdmin: 'تعيين مشرفًا',
    unmakeAdmin: 'إلغاء الإشراف',
    remove: 'إزالة',
    write: (name) => `رسالة إلى ${name}`,
    leave: 'مغادرة المجموعة',
    leaveTitle: (name) => `مغادرة ${name}؟`,
    leaveHint: 'لن ترى ما يقال فيها بعد ذلك. ويبقى ما لديك على هذا الجهاز.',
    left: 'لقد غادرت هذه المجموعة.',
    removed: 'لم تعد في هذه المجموعة.',
    gone: 'لم تعد هذه المجموعة موجودة.',
    invited: (by, name) => `يدعوك ${by} إلى المجموعة ${name}.`,
    join: 'انضمام',
    forget: 'إزالة من القائمة',
    invitation: 'يدعوك إلى مجموعة',
    event: (kind, who, name) => {
      switch (kind) {
        case 'created':
          return `أنشأ ${who} المجموعة`
        case 'joined':
          return `انضم ${who}`
        case 'left':
          return `غادر ${who}`
        case 'admin':
          return `صار ${who} مشرفًا`
        case 'member':
          return `لم يعد ${who} مشرفًا`
        case 'named':
          return `صار اسم المجموعة ${name}`
        default:
          return who
      }
    },
    youEvent: (kind) => {
      switch (kind) {
        case 'created':
          return 'أنشأتَ المجموعة'
        case 'joined':
          return 'انضممت'
        case 'left':
          return 'غادرت'
        case 'admin':
          return 'صرت مشرفًا'
        default:
          return 'لم تعد مشرفًا'
      }
    },
    mentioned: 'تمت الإشارة إليك',
    mention: 'الإشارة إلى شخص',
  },
}
