// SPDX-License-Identifier: Apache-2.0

import { language } from '../strings'

/** The words where there is no app, in all languages. */
const en = {
  title: 'bavard cannot start',
  held: 'Another tab of it does not respond. Close that one: this one goes on by itself.',
  store: 'This browser does not let it keep anything. A private window may be the reason.',
  insecure: 'It needs a secure address: https, or localhost.',
}

type Words = typeof en

const fr: Words = {
  title: 'bavard ne peut pas démarrer',
  held: 'Un autre de ses onglets ne répond pas. Fermez-le : celui-ci continuera de lui-même.',
  store: 'Ce navigateur ne le laisse rien garder. Une fenêtre privée en est peut-être la raison.',
  insecure: 'Il faut une adresse sûre : https, ou localhost.',
}

const es: Words = {
  title: 'bavard no puede empezar',
  held: 'Otra de sus pestañas no responde. Ciérrala: esta seguirá por sí sola.',
  store: 'Este navegador no le deja guardar nada. Quizá sea una ventana privada.',
  insecure: 'Hace falta una dirección segura: https, o localhost.',
}

const ar: Words = {
  title: 'لا يستطيع bavard البدء',
  held: 'علامة تبويب أخرى له لا تستجيب. أغلقها وتتابع هذه من تلقاء نفسها.',
  store: 'لا يسمح له هذا المتصفح بحفظ شيء. ربما السبب نافذة خاصة.',
  insecure: 'يحتاج إلى عنوان آمن: https أو localhost.',
}

export const broken: Words = { en, fr, es, ar }[language]
