// SPDX-License-Identifier: Apache-2.0

import { language, type Language } from '../strings'

/** The words for finding messages in a chat, and for what is done with several, which are fetched with that. */
const en = {
  find: 'Search in this chat',
  older: 'Older match',
  newer: 'Newer match',
  /** More may be found yet. */
  of: (n: number, all: number, more: boolean) => `${n} of ${all}${more ? '+' : ''}`,
  looking: 'Searching…',
  /** So far back the messages are on this device. */
  backTo: (found: boolean, day: string) => (found ? `No more matches back to ${day}.` : `Nothing found back to ${day}.`),
  unreached: 'The server cannot be asked now. Try again in a moment.',

  select: 'Select',
  unselect: 'Stop selecting',
  selectThis: 'Select message',
  selected: (n: number) => (n === 1 ? '1 selected' : `${n} selected`),
  most: (n: number) => `At most ${n} at once.`,
  copied: (n: number) => (n === 1 ? '1 message copied' : `${n} messages copied`),
  deleteTitle: (n: number) => `Delete ${n} messages for everyone?`,
  onlySome: (n: number, all: number) => (n === 1 ? `Only 1 of these ${all} can be deleted for everyone; the others stay.` : `Only ${n} of these ${all} can be deleted for everyone; the others stay.`),
  noneDeletes: 'None of these can be deleted for everyone: only your own can, once they were sent.',
  noneForwards: 'None of these can be forwarded.',

  links: 'Links',
  noLinks: 'No links were sent here yet.',
}

export type TalkWords = typeof en

const fr: TalkWords = {
  find: 'Rechercher dans cette discussion',
  older: 'Résultat plus ancien',
  newer: 'Résultat plus récent',
  of: (n, all, more) => `${n} sur ${all}${more ? '+' : ''}`,
  looking: 'Recherche…',
  backTo: (found, day) => (found ? `Rien de plus en remontant jusqu’à cette date : ${day}.` : `Rien trouvé en remontant jusqu’à cette date : ${day}.`),
  unreached: 'Le serveur est injoignable. Réessayez dans un moment.',

  select: 'Sélectionner',
  unselect: 'Terminer la sélection',
  selectThis: 'Sélectionner le message',
  selected: (n) => (n < 2 ? `${n} sélectionné` : `${n} sélectionnés`),
  most: (n) => `Au plus ${n} à la fois.`,
  copied: (n) => (n < 2 ? `${n} message copié` : `${n} messages copiés`),
  deleteTitle: (n) => `Supprimer ${n} messages pour tous ?`,
  onlySome: (n, all) => (n < 2 ? `Seul ${n} de ces ${all} messages peut être supprimé pour tous ; les autres restent.` : `Seuls ${n} de ces ${all} messages peuvent être supprimés pour tous ; les autres restent.`),
  noneDeletes: 'Aucun de ces messages ne peut être supprimé pour tous : seuls les vôtres, une fois envoyés.',
  noneForwards: 'Aucun de ces messages ne peut être transféré.',

  links: 'Liens',
  noLinks: 'Aucun lien n’a encore été envoyé ici.',
}

const es: TalkWords = {
  find: 'Buscar en este chat',
  older: 'Resultado anterior',
  newer: 'Resultado posterior',
  of: (n, all, more) => `${n} de ${all}${more ? '+' : ''}`,
  looking: 'Buscando…',
  backTo: (found, day) => (found ? `No hay más resultados hasta esta fecha: ${day}.` : `No se encontró nada hasta esta fecha: ${day}.`),
  unreached: 'Ahora no se puede preguntar al servidor. Inténtalo de nuevo en un momento.',

  select: 'Seleccionar',
  unselect: 'Dejar de seleccionar',
  selectThis: 'Seleccionar mensaje',
  selected: (n) => (n === 1 ? '1 seleccionado' : `${n} seleccionados`),
  most: (n) => `Como máximo ${n} a la vez.`,
  copied: (n) => (n === 1 ? '1 mensaje copiado' : `${n} mensajes copiados`),
  deleteTitle: (n) => `¿Eliminar ${n} mensajes para todos?`,
  onlySome: (n, all) => (n === 1 ? `Solo 1 de estos ${all} se puede eliminar para todos; los demás se quedan.` : `Solo ${n} de estos ${all} se pueden eliminar para todos; los demás se quedan.`),
  noneDeletes: 'Ninguno de estos se puede eliminar para todos: solo los tuyos, una vez enviados.',
  noneForwards: 'Ninguno de estos se puede reenviar.',

  links: 'Enlaces',
  noLinks: 'Aquí aún no se han enviado enlaces.',
}

const messages = (n: number): string => (n === 1 ? 'رسالة واحدة' : n === 2 ? 'رسالتان' : n % 100 >= 3 && n % 100 <= 10 ? `${n} رسائل` : `${n} رسالة`)

const ar: TalkWords = {
  find: 'البحث في هذه المحادثة',
  older: 'النتيجة الأقدم',
  newer: 'النتيجة الأحدث',
  of: (n, all, more) => `${n} من ${all}${more ? '+' : ''}`,
  looking: 'جارٍ البحث…',
  backTo: (found, day) => (found ? `لا نتائج أخرى حتى هذا التاريخ: ${day}.` : `لم يُعثر على شيء حتى هذا التاريخ: ${day}.`),
  unreached: 'لا يمكن سؤال الخادم الآن. حاول مجددًا بعد قليل.',

  select: 'تحديد',
  unselect: 'إنهاء التحديد',
  selectThis: 'تحديد الرسالة',
  selected: (n) => `المحدد: ${n}`,
  most: (n) => `${n} على الأكثر في المرة الواحدة.`,
  copied: (n) => `نُسخت ${messages(n)}`,
  deleteTitle: (n) => (n === 2 ? 'حذف رسالتين لدى الجميع؟' : `حذف ${messages(n)} لدى الجميع؟`),
  onlySome: (n, all) => `يمكن حذف ${n} فقط من أصل ${all} لدى الجميع، ويبقى الباقي.`,
  noneDeletes: 'لا يمكن حذف أي من هذه لدى الجميع: رسائلك وحدها، بعد إرسالها.',
  noneForwards: 'لا يمكن إعادة توجيه أي من هذه.',

  links: 'الروابط',
  noLinks: 'لم تُرسل أي روابط هنا بعد.',
}

const ALL: Record<Language, TalkWords> = { en, fr, es, ar }

/** The words in the person's language, which does not change while the page is there. */
export const talk = ALL[language]
