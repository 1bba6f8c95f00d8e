// SPDX-License-Identifier: Apache-2.0

import { language } from '../strings'

/** The words of what concerns oneself and one's chats as a whole, in all languages; fetched with those screens. */
const en = {
  privacy: 'Privacy',
  seen: 'Last seen and online',
  contacts: 'My contacts',
  nobody: 'Nobody',
  seenHint: 'Who sees when you are here. Messages and typing show it all the same, and members of groups see it.',
  receipts: 'Read receipts',
  receiptsHint: 'Without them people do not learn what you have read, and you do not see what they have. Groups always do.',

  stranger: (name: string) => `${name} is not one of your contacts.`,
  add: 'Add',
  report: 'Block and report',
  reportTitle: (name: string) => `Block and report ${name}?`,
  reportHint: 'They can no longer write to you. Who runs this server is told that you report them, and which messages of theirs came last. They are not told.',
  reportGroupHint: 'You leave the group. Who runs this server is told that you report it, and which messages came last. Nobody in it is told.',
  spam: 'Spam',
  abuse: 'Abuse or threats',
  reportText: 'What happened? (optional)',

  deleteChat: 'Delete chat',
  deleteChatTitle: (name: string) => `Delete the chat with ${name}?`,
  deleteChatHint: 'Its messages go from all your devices. Others keep theirs.',
  stillWaits: (n: number) => (n === 1 ? '1 message was not sent yet. It stays, and is sent.' : `${n} messages were not sent yet. They stay, and are sent.`),

  deleteAccount: 'Delete account',
  deleteAccountHint: 'Your account goes for good, from the server and all your devices: your messages, files, pictures, contacts and settings, and your place in groups. What others have received stays with them. This cannot be undone.',
  typeAddress: (jid: string) => `Type ${jid} to go on`,
  deleteAccountSure: 'Delete for good',

  exportChat: 'Export chat',
  exportHint: 'The whole conversation, also what is not on this device yet, as text and as data for programs (JSON). Files are named, not contained.',
  exportHead: (name: string, when: string) => `Chat with ${name}, as of ${when}`,
  exported: (n: number) => (n === 1 ? '1 message' : `${n} messages`),
  exportGo: 'Export',
  exportText: 'Save as text',
  exportData: 'Save as data',
}

export type OwnWords = typeof en

const fr: OwnWords = {
  privacy: 'Confidentialité',
  seen: 'Vu à et en ligne',
  contacts: 'Mes contacts',
  nobody: 'Personne',
  seenHint: 'Qui voit quand vous êtes là. Vos messages et votre saisie le montrent quand même, et les membres des groupes le voient.',
  receipts: 'Confirmations de lecture',
  receiptsHint: 'Sans elles, personne n’apprend ce que vous avez lu, et vous ne voyez pas ce qu’ont lu les autres. Les groupes les ont toujours.',

  stranger: (name) => `${name} n’est pas dans vos contacts.`,
  add: 'Ajouter',
  report: 'Bloquer et signaler',
  reportTitle: (name) => `Bloquer et signaler ${name} ?`,
  reportHint: 'Cette personne ne peut plus vous écrire. Qui gère ce serveur apprend que vous la signalez, et quels messages d’elle sont venus en dernier. Elle ne l’apprend pas.',
  reportGroupHint: 'Vous quittez le groupe. Qui gère ce serveur apprend que vous le signalez, et quels messages sont venus en dernier. Personne dans le groupe ne l’apprend.',
  spam: 'Indésirable',
  abuse: 'Insultes ou menaces',
  reportText: 'Que s’est-il passé ? (facultatif)',

  deleteChat: 'Supprimer la discussion',
  deleteChatTitle: (name) => `Supprimer la discussion avec ${name} ?`,
  deleteChatHint: 'Ses messages disparaissent de tous vos appareils. Les autres gardent les leurs.',
  stillWaits: (n) => (n < 2 ? `${n} message n’est pas encore envoyé. Il reste, et sera envoyé.` : `${n} messages ne sont pas encore envoyés. Ils restent, et seront envoyés.`),

  deleteAccount: 'Supprimer le compte',
  deleteAccountHint: 'Votre compte disparaît pour toujours, du serveur et de tous vos appareils : vos messages, fichiers, images, contacts et réglages, et votre place dans les groupes. Ce que les autres ont reçu leur reste. C’est irréversible.',
  typeAddress: (jid) => `Tapez ${jid} pour continuer`,
  deleteAccountSure: 'Supprimer pour toujours',

  exportChat: 'Exporter la discussion',
  exportHint: 'Toute la conversation, y compris ce qui n’est pas encore sur cet appareil, en texte et en données pour programmes (JSON). Les fichiers sont nommés, pas contenus.',
  exportHead: (name, when) => `Discussion avec ${name}, état du ${when}`,
  exported: (n) => (n < 2 ? `${n} message` : `${n} messages`),
  exportGo: 'Exporter',
  exportText: 'Enregistrer le texte',
  exportData: 'Enregistrer les données',
}

const es: OwnWords = {
  privacy: 'Privacidad',
  seen: 'Última vez y en línea',
  contacts: 'Mis contactos',
  nobody: 'Nadie',
  seenHint: 'Quién ve cuándo estás. Tus mensajes y que escribes lo muestran igualmente, y los miembros de los grupos lo ven.',
  receipts: 'Confirmaciones de lectura',
  receiptsHint: 'Sin ellas nadie sabe qué has leído y tú no ves qué han leído los demás. Los grupos las tienen siempre.',

  stranger: (name) => `${name} no está entre tus contactos.`,
  add: 'Añadir',
  report: 'Bloquear y denunciar',
  reportTitle: (name) => `¿Bloquear y denunciar a ${name}?`,
  reportHint: 'Ya no podrá escribirte. Quien lleva este servidor sabrá que le denuncias y cuáles fueron sus últimos mensajes. No se le avisa.',
  reportGroupHint: 'Sales del grupo. Quien lleva este servidor sabrá que lo denuncias y cuáles fueron los últimos mensajes. No se avisa a nadie del grupo.',
  spam: 'Spam',
  abuse: 'Insultos o amenazas',
  reportText: '¿Qué ha pasado? (opcional)',

  deleteChat: 'Eliminar el chat',
  deleteChatTitle: (name) => `¿Eliminar el chat con ${name}?`,
  deleteChatHint: 'Sus mensajes desaparecen de todos tus dispositivos. Los demás conservan los suyos.',
  stillWaits: (n) => (n === 1 ? '1 mensaje aún no se ha enviado. Se queda y se enviará.' : `${n} mensajes aún no se han enviado. Se quedan y se enviarán.`),

  deleteAccount: 'Eliminar la cuenta',
  deleteAccountHint: 'Tu cuenta desaparece para siempre, del servidor y de todos tus dispositivos: tus mensajes, archivos, imágenes, contactos y ajustes, y tu lugar en los grupos. Lo que otros han recibido lo conservan. No se puede deshacer.',
  typeAddress: (jid) => `Escribe ${jid} para continuar`,
  deleteAccountSure: 'Eliminar para siempre',

  exportChat: 'Exportar el chat',
  exportHint: 'Toda la conversación, también lo que aún no está en este dispositivo, como texto y como datos para programas (JSON). Los archivos se nombran, no se incluyen.',
  exportHead: (name, when) => `Chat con ${name}, a ${when}`,
  exported: (n) => (n === 1 ? '1 mensaje' : `${n} mensajes`),
  exportGo: 'Exportar',
  exportText: 'Guardar como texto',
  exportData: 'Guardar como datos',
}

const ar: OwnWords = {
  privacy: 'الخصوصية',
  seen: 'آخر ظهور ومتصل الآن',
  contacts: 'جهات اتصالي',
  nobody: 'لا أحد',
  seenHint: 'من يرى متى تكون هنا. تُظهر ذلك رسائلك وكتابتك في كل حال، ويراه أعضاء المجموعات.',
  receipts: 'إشعارات القراءة',
  receiptsHint: 'من دونها لا يعرف أحد ما قرأته، ولا ترى ما قرأه غيرك. وتبقى في المجموعات دائمًا.',

  stranger: (name) => `${name} ليس من جهات اتصالك.`,
  add: 'إضافة',
  report: 'حظر وإبلاغ',
  reportTitle: (name) => `حظر ${name} والإبلاغ عنه؟`,
  reportHint: 'لن يتمكن من الكتابة إليك. يُبلَّغ من يدير هذا الخادم بذلك وبأحدث رسائله إليك، ولا يُخطَر هو.',
  reportGroupHint: 'تغادر المجموعة. يُبلَّغ من يدير هذا الخادم بذلك وبأحدث الرسائل، ولا يُخطَر أحد فيها.',
  spam: 'رسائل مزعجة',
  abuse: 'إساءة أو تهديد',
  reportText: 'ماذا حدث؟ (اختياري)',

  deleteChat: 'حذف المحادثة',
  deleteChatTitle: (name) => `حذف المحادثة مع ${name}؟`,
  deleteChatHint: 'تُحذف رسائلها من كل أجهزتك، ويحتفظ الآخرون بما لديهم.',
  stillWaits: (n) => (n === 1 ? 'رسالة واحدة لم تُرسل بعد. تبقى وتُرسل.' : `رسائل لم تُرسل بعد: ${n}. تبقى وتُرسل.`),

  deleteAccount: 'حذف الحساب',
  deleteAccountHint: 'يُحذف حسابك نهائيًا من الخادم ومن كل أجهزتك: رسائلك وملفاتك وصورك وجهات اتصالك وإعداداتك ومكانك في المجموعات. ما استلمه الآخرون يبقى لديهم. لا رجعة في ذلك.',
  typeAddress: (jid) => `اكتب ${jid} للمتابعة`,
  deleteAccountSure: 'حذف نهائي',

  exportChat: 'تصدير المحادثة',
  exportHint: 'المحادثة كلها، بما فيها ما ليس على هذا الجهاز بعد، نصًا وبيانات للبرامج (JSON). تُذكر الملفات بأسمائها ولا تُضمَّن.',
  exportHead: (name, when) => `محادثة مع ${name}، حتى ${when}`,
  exported: (n) => (n === 1 ? 'رسالة واحدة' : `الرسائل: ${n}`),
  exportGo: 'تصدير',
  exportText: 'حفظ كنص',
  exportData: 'حفظ كبيانات',
}

export const own: OwnWords = { en, fr, es, ar }[language]
