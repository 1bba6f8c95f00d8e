// SPDX-License-Identifier: Apache-2.0

import { language } from '../strings'

/** The words of how people come together: a new chat, the directory of people, codes; in all languages, fetched with those screens. */
const en = {
  newGroup: 'New group',
  addressOrLink: 'Name, address or link',
  addressExample: (domain: string) => `anna@${domain}`,
  startChat: 'Start chat',
  notAnAddress: 'That is neither an address nor a link. An address looks like anna@example.org.',
  thatIsYou: 'That is your own address.',
  yourLink: 'Your link',
  yourLinkHint: 'Whoever has an account here and opens it can write to you.',
  showCode: 'Show as a code',
  hideCode: 'Hide the code',
  code: 'Your link as a code to scan',

  people: 'Others on this server',
  searching: 'Searching…',
  nobody: 'Nobody else who wants to be found here has a name or an address that begins so.',
  next: 'Show more',
  unconnected: 'Finding others on this server needs a connection.',
  many: 'Those were many searches. It goes on by itself in a few seconds.',
  failed: 'The server could not search.',

  findMe: 'Let others find me',
  findMeHint: 'Everybody on this server can then find you by your name and your address, and write to you. Else only who has your address or your link can.',
  foundAs: (name: string) => `You are found as ${name}.`,
  findMeUnknown: 'Whether others can find you is seen when you are connected.',

  scan: 'Scan a code',
  scanHint: 'Hold somebody’s code, or that of a group, in front of the camera.',
  camera: 'Asking for the camera…',
  fromPicture: 'Choose a picture',
  denied: 'This browser does not let bavard use the camera. Allow it in its settings for this page, or choose a picture of the code.',
  noCamera: 'No camera can be used here now. Choose a picture of the code instead.',
  noCode: 'There is no code to be seen in this picture.',
  ownCode: 'That is your own code.',
  deviceCode: 'This code lets one more device into an account. Scan it with that device’s own camera app.',
  otherCode: 'This code leads neither to somebody nor to a group here. It says:',
}

type Words = typeof en

const fr: Words = {
  newGroup: 'Nouveau groupe',
  addressOrLink: 'Nom, adresse ou lien',
  addressExample: (domain) => `anna@${domain}`,
  startChat: 'Commencer',
  notAnAddress: 'Ce n’est ni une adresse ni un lien. Une adresse ressemble à anna@example.org.',
  thatIsYou: 'C’est votre propre adresse.',
  yourLink: 'Votre lien',
  yourLinkHint: 'Qui a un compte ici et l’ouvre peut vous écrire.',
  showCode: 'Afficher le code',
  hideCode: 'Masquer le code',
  code: 'Votre lien sous forme de code à scanner',

  people: 'D’autres sur ce serveur',
  searching: 'Recherche…',
  nobody: 'Personne d’autre qui veut être trouvé ici n’a un nom ou une adresse qui commence ainsi.',
  next: 'Afficher la suite',
  unconnected: 'Pour trouver d’autres personnes sur ce serveur, il faut une connexion.',
  many: 'Cela fait beaucoup de recherches. Cela continue tout seul dans quelques secondes.',
  failed: 'Le serveur n’a pas pu chercher.',

  findMe: 'Me laisser trouver',
  findMeHint: 'Tout le monde sur ce serveur peut alors vous trouver par votre nom et votre adresse, et vous écrire. Sinon, seulement qui a votre adresse ou votre lien.',
  foundAs: (name) => `On vous trouve sous le nom ${name}.`,
  findMeUnknown: 'Vous verrez si l’on peut vous trouver quand vous serez connecté.',

  scan: 'Scanner un code',
  scanHint: 'Placez le code de quelqu’un, ou d’un groupe, devant la caméra.',
  camera: 'Demande d’accès à la caméra…',
  fromPicture: 'Choisir une image',
  denied: 'Ce navigateur ne laisse pas bavard utiliser la caméra. Autorisez-la dans ses réglages pour cette page, ou choisissez une image du code.',
  noCamera: 'Aucune caméra n’est utilisable ici pour le moment. Choisissez plutôt une image du code.',
  noCode: 'On ne voit aucun code sur cette image.',
  ownCode: 'C’est votre propre code.',
  deviceCode: 'Ce code fait entrer un appareil de plus dans un compte. Scannez-le avec l’appareil photo de cet appareil.',
  otherCode: 'Ce code ne mène ni à quelqu’un ni à un groupe d’ici. Il dit :',
}

const es: Words = {
  newGroup: 'Nuevo grupo',
  addressOrLink: 'Nombre, dirección o enlace',
  addressExample: (domain) => `anna@${domain}`,
  startChat: 'Empezar chat',
  notAnAddress: 'No es ni una dirección ni un enlace. Una dirección es como anna@example.org.',
  thatIsYou: 'Esa es tu propia dirección.',
  yourLink: 'Tu enlace',
  yourLinkHint: 'Quien tenga una cuenta aquí y lo abra puede escribirte.',
  showCode: 'Mostrar como código',
  hideCode: 'Ocultar el código',
  code: 'Tu enlace como código para escanear',

  people: 'Otras personas en este servidor',
  searching: 'Buscando…',
  nobody: 'Nadie más que quiera ser encontrado aquí tiene un nombre o una dirección que empiece así.',
  next: 'Mostrar más',
  unconnected: 'Para encontrar a otras personas en este servidor hace falta conexión.',
  many: 'Han sido muchas búsquedas. Sigue solo en unos segundos.',
  failed: 'El servidor no pudo buscar.',

  findMe: 'Dejar que me encuentren',
  findMeHint: 'Así todo el mundo en este servidor puede encontrarte por tu nombre y tu dirección, y escribirte. Si no, solo quien tenga tu dirección o tu enlace.',
  foundAs: (name) => `Te encuentran como ${name}.`,
  findMeUnknown: 'Si pueden encontrarte se ve cuando tengas conexión.',

  scan: 'Escanear un código',
  scanHint: 'Pon el código de alguien, o de un grupo, delante de la cámara.',
  camera: 'Pidiendo la cámara…',
  fromPicture: 'Elegir una imagen',
  denied: 'Este navegador no deja que bavard use la cámara. Permítela en sus ajustes para esta página, o elige una imagen del código.',
  noCamera: 'Ahora no se puede usar ninguna cámara aquí. Elige mejor una imagen del código.',
  noCode: 'En esta imagen no se ve ningún código.',
  ownCode: 'Ese es tu propio código.',
  deviceCode: 'Este código deja entrar otro dispositivo en una cuenta. Escanéalo con la cámara de ese dispositivo.',
  otherCode: 'Este código no lleva a nadie ni a ningún grupo de aquí. Dice:',
}

const ar: Words = {
  newGroup: 'مجموعة جديدة',
  addressOrLink: 'اسم أو عنوان أو رابط',
  addressExample: (domain) => `anna@${domain}`,
  startChat: 'بدء المحادثة',
  notAnAddress: 'هذا ليس عنوانًا ولا رابطًا. يبدو العنوان هكذا: anna@example.org.',
  thatIsYou: 'هذا عنوانك أنت.',
  yourLink: 'رابطك',
  yourLinkHint: 'من لديه حساب هنا ويفتحه يستطيع الكتابة إليك.',
  showCode: 'عرض كرمز',
  hideCode: 'إخفاء الرمز',
  code: 'رابطك كرمز للمسح',

  people: 'آخرون على هذا الخادم',
  searching: 'جارٍ البحث…',
  nobody: 'لا أحد غيرهم ممن يريدون أن يُعثر عليهم هنا يبدأ اسمه أو عنوانه هكذا.',
  next: 'عرض المزيد',
  unconnected: 'العثور على آخرين على هذا الخادم يحتاج إلى اتصال.',
  many: 'عمليات البحث كثيرة. يُستأنف البحث تلقائيًا بعد ثوانٍ.',
  failed: 'تعذّر على الخادم البحث.',

  findMe: 'السماح للآخرين بالعثور عليّ',
  findMeHint: 'عندها يستطيع كل من على هذا الخادم العثور عليك باسمك وعنوانك والكتابة إليك. وإلا فلا يستطيع ذلك إلا من لديه عنوانك أو رابطك.',
  foundAs: (name) => `يُعثر عليك باسم ${name}.`,
  findMeUnknown: 'يظهر هل يمكن العثور عليك عندما تكون متصلًا.',

  scan: 'مسح رمز',
  scanHint: 'ضع رمز شخص أو مجموعة أمام الكاميرا.',
  camera: 'جارٍ طلب الكاميرا…',
  fromPicture: 'اختيار صورة',
  denied: 'لا يسمح هذا المتصفح لـ bavard باستخدام الكاميرا. اسمح بها في إعداداته لهذه الصفحة، أو اختر صورة للرمز.',
  noCamera: 'لا توجد كاميرا يمكن استخدامها هنا الآن. اختر صورة للرمز بدلًا من ذلك.',
  noCode: 'لا يظهر أي رمز في هذه الصورة.',
  ownCode: 'هذا رمزك أنت.',
  deviceCode: 'يُدخل هذا الرمز جهازًا آخر إلى حساب. امسحه بكاميرا ذلك الجهاز.',
  otherCode: 'لا يؤدي هذا الرمز إلى شخص ولا إلى مجموعة هنا. مضمونه:',
}

export const people: Words = { en, fr, es, ar }[language]
