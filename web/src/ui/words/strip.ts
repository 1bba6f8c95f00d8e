// SPDX-License-Identifier: Apache-2.0

import { language } from '../strings'

/** The words of what stands above everything when something is wrong, in all languages. */
const en = {
  offline: 'You are offline',
  offlineHint: 'Messages wait here and go out when you are back.',
  unreachable: 'The server cannot be reached',
  restarting: 'The server is restarting',
  overloaded: 'The server is busy',
  connecting: 'Connecting…',
  trying: 'Trying now…',
  again: (seconds: number) => (seconds <= 1 ? 'Trying again in a second.' : `Trying again in ${seconds} s.`),
  lastContact: (time: string) => `Last contact ${time}.`,
  tryNow: 'Try now',
  conflict: 'bavard is in use somewhere else',
  conflictHint: 'Another program took over this connection.',
  useHere: 'Use here',
  update: 'A new version of bavard is ready.',
  reload: 'Reload',
  status: 'Status page',
  plannedFrom: (from: string, to: string) => (to ? `Work is planned from ${from} to ${to}.` : `Work is planned for ${from}.`),
  plannedUntil: (to: string) => `Planned work until ${to}.`,
  plannedSince: (from: string) => `Planned work since ${from}.`,
  troubleSince: (from: string, to: string) => (to ? `It is known since ${from}, and is expected to be over at ${to}.` : `It is known since ${from}.`),
  longer: (to: string) => `It was expected to be over at ${to}, and takes longer.`,
}

type Words = typeof en

const fr: Words = {
  offline: 'Vous êtes hors ligne',
  offlineHint: 'Les messages attendent ici et partiront à votre retour.',
  unreachable: 'Le serveur est injoignable',
  restarting: 'Le serveur redémarre',
  overloaded: 'Le serveur est surchargé',
  connecting: 'Connexion…',
  trying: 'Nouvel essai…',
  again: (seconds) => (seconds <= 1 ? 'Nouvel essai dans une seconde.' : `Nouvel essai dans ${seconds} s.`),
  lastContact: (time) => `Dernier contact à ${time}.`,
  tryNow: 'Essayer',
  conflict: 'bavard est utilisé ailleurs',
  conflictHint: 'Un autre programme a pris cette connexion.',
  useHere: 'Utiliser ici',
  update: 'Une nouvelle version de bavard est prête.',
  reload: 'Recharger',
  status: 'Page d’état',
  plannedFrom: (from, to) => (to ? `Travaux prévus, début : ${from}, fin : ${to}.` : `Travaux prévus, début : ${from}.`),
  plannedUntil: (to) => `Travaux prévus, jusqu’à : ${to}.`,
  plannedSince: (from) => `Travaux prévus, depuis : ${from}.`,
  troubleSince: (from, to) => (to ? `Panne connue depuis : ${from} ; fin attendue : ${to}.` : `Panne connue depuis : ${from}.`),
  longer: (to) => `La fin était attendue pour : ${to}. Cela dure plus longtemps.`,
}

const es: Words = {
  offline: 'Estás sin conexión',
  offlineHint: 'Los mensajes esperan aquí y saldrán cuando vuelvas.',
  unreachable: 'No se puede alcanzar el servidor',
  restarting: 'El servidor se está reiniciando',
  overloaded: 'El servidor está ocupado',
  connecting: 'Conectando…',
  trying: 'Intentándolo…',
  again: (seconds) => (seconds <= 1 ? 'Otro intento en un segundo.' : `Otro intento en ${seconds} s.`),
  lastContact: (time) => `Último contacto a las ${time}.`,
  tryNow: 'Intentar ya',
  conflict: 'bavard se está usando en otro lugar',
  conflictHint: 'Otro programa tomó esta conexión.',
  useHere: 'Usar aquí',
  update: 'Hay una nueva versión de bavard.',
  reload: 'Recargar',
  status: 'Página de estado',
  plannedFrom: (from, to) => (to ? `Trabajos previstos, inicio: ${from}, fin: ${to}.` : `Trabajos previstos, inicio: ${from}.`),
  plannedUntil: (to) => `Trabajos previstos, hasta: ${to}.`,
  plannedSince: (from) => `Trabajos previstos, desde: ${from}.`,
  troubleSince: (from, to) => (to ? `Avería conocida desde: ${from}; fin esperado: ${to}.` : `Avería conocida desde: ${from}.`),
  longer: (to) => `El fin se esperaba para: ${to}. Está durando más.`,
}

const ar: Words = {
  offline: 'أنت غير متصل',
  offlineHint: 'تنتظر الرسائل هنا وتخرج عند عودتك.',
  unreachable: 'لا يمكن الوصول إلى الخادم',
  restarting: 'يُعاد تشغيل الخادم',
  overloaded: 'الخادم مشغول',
  connecting: 'جارٍ الاتصال…',
  trying: 'جارٍ المحاولة…',
  again: (seconds) => (seconds <= 1 ? 'محاولة أخرى بعد ثانية.' : `محاولة أخرى بعد ${seconds} ث.`),
  lastContact: (time) => `آخر اتصال ${time}.`,
  tryNow: 'حاول الآن',
  conflict: 'يُستخدم bavard في مكان آخر',
  conflictHint: 'أخذ برنامج آخر هذا الاتصال.',
  useHere: 'استخدمه هنا',
  update: 'إصدار جديد من bavard جاهز.',
  reload: 'إعادة التحميل',
  status: 'صفحة الحالة',
  plannedFrom: (from, to) => (to ? `أعمال مخطط لها من ${from} إلى ${to}.` : `أعمال مخطط لها: ${from}.`),
  plannedUntil: (to) => `أعمال مخطط لها حتى ${to}.`,
  plannedSince: (from) => `أعمال مخطط لها منذ ${from}.`,
  troubleSince: (from, to) => (to ? `العطل معروف منذ ${from}، ويُتوقع أن ينتهي ${to}.` : `العطل معروف منذ ${from}.`),
  longer: (to) => `كان يُتوقع أن ينتهي ${to}، لكنه يطول.`,
}

export const s: Words = { en, fr, es, ar }[language]
