// SPDX-License-Identifier: Apache-2.0

import { language } from '../strings'

/** The words of what waits to be sent, in all languages, fetched with that screen. */
const en = {
  title: 'Waiting to be sent',
  empty: 'Everything is sent.',
  hint: 'It goes out by itself, in this order, as soon as there is a connection.',
  sent: 'It may have reached the server already. It stays here until that is known.',
  failed: 'That could not be done. Try again.',
  remove: (words: string) => `Delete: ${words}`,
  again: (words: string) => `Try again: ${words}`,
}

type Words = typeof en

const fr: Words = {
  title: 'En attente d’envoi',
  empty: 'Tout est envoyé.',
  hint: 'Tout part de soi-même, dans cet ordre, dès qu’il y a une connexion.',
  sent: 'Il est peut-être déjà arrivé au serveur. Il reste ici jusqu’à ce qu’on le sache.',
  failed: 'Cela n’a pas pu être fait. Réessayez.',
  remove: (words) => `Supprimer : ${words}`,
  again: (words) => `Réessayer : ${words}`,
}

const es: Words = {
  title: 'Pendiente de envío',
  empty: 'Todo está enviado.',
  hint: 'Sale solo, en este orden, en cuanto haya conexión.',
  sent: 'Puede que ya haya llegado al servidor. Se queda aquí hasta que se sepa.',
  failed: 'No se ha podido hacer. Inténtalo de nuevo.',
  remove: (words) => `Eliminar: ${words}`,
  again: (words) => `Reintentar: ${words}`,
}

const ar: Words = {
  title: 'في انتظار الإرسال',
  empty: 'أُرسل كل شيء.',
  hint: 'تخرج من تلقاء نفسها، بهذا الترتيب، فور توفر الاتصال.',
  sent: 'ربما وصلت إلى الخادم. تبقى هنا حتى يُعرف ذلك.',
  failed: 'تعذر ذلك. حاول مجددًا.',
  remove: (words) => `حذف: ${words}`,
  again: (words) => `إعادة المحاولة: ${words}`,
}

export const o: Words = { en, fr, es, ar }[language]
