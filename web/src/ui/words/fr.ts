// SPDX-License-Identifier: Apache-2.0

import type { Strings } from '../strings'

const many = (n: number, one: string, other: string): string => (n < 2 ? `${n} ${one}` : `${n} ${other}`)

export const words: Strings = {
  app: 'bavard',
  close: 'Fermer',
  back: 'Retour',
  cancel: 'Annuler',
  copy: 'Copier',
  copied: 'Copié',
  you: 'Vous',

  chats: 'Discussions',
  newChat: 'Nouvelle discussion',
  yourProfile: 'Vous',
  search: 'Rechercher',
  clearSearch: 'Effacer la recherche',
  archived: 'Archivées',
  pinned: 'épinglée',
  muted: 'muette',
  filters: { all: 'Toutes', unread: 'Non lues', groups: 'Groupes' },
  noneIn: { all: '', unread: 'Vous avez tout lu.', groups: 'Vous n’êtes encore dans aucun groupe.' },
  nothingFound: 'Rien trouvé',
  messagesFound: 'Messages',
  sayHello: 'Dites bonjour',
  wantsToConnect: 'Souhaite entrer en contact',
  typing: 'écrit…',
  recording: 'enregistre…',
  typingBy: (name, more, voice) => (more ? `${name} et ${more} de plus écrivent…` : `${name} ${voice ? 'enregistre' : 'écrit'}…`),
  online: 'en ligne',
  draft: 'Brouillon :',
  unread: (n) => many(n, 'message non lu', 'messages non lus'),
  noChats: 'Aucune discussion',
  noChatsHint: 'Commencez avec l’adresse de quelqu’un, ou envoyez-lui votre lien.',
  pickChat: 'Choisissez une discussion, ou commencez-en une.',
  tagline: 'Vos messages arrivent.',

  contacts: 'Contacts',

  messagesWith: (name) => `Messages avec ${name}`,
  message: 'Message',
  writeTo: (name) => `Écrire à ${name}`,
  send: 'Envoyer',
  unreadDivider: (n) => many(n, 'message non lu', 'messages non lus'),
  loadingOlder: 'Chargement des messages précédents…',
  beginning: 'C’est ici que votre discussion commence.',
  emptyChat: (name) => `Rien ici pour l’instant. Dites bonjour à ${name}.`,
  olderWait: 'Les messages précédents viendront avec la connexion.',
  toNewest: 'Au dernier message',
  readMore: 'Lire la suite',
  today: 'Aujourd’hui',
  yesterday: 'Hier',
  tooLong: 'C’est trop long pour un seul message.',
  notKept: 'Cet appareil n’a pas pu garder le message. Sa mémoire est-elle pleine ?',
  saidBy: (name) => `${name} :`,

  kinds: { image: 'Photo', video: 'Vidéo', voice: 'Message vocal', audio: 'Audio', file: 'Document' },
  attach: 'Joindre',
  record: 'Enregistrer un message vocal',
  reply: 'Répondre',
  react: 'Réagir',
  more: 'Plus',
  menuOf: 'Que faire de ce message',
  reactWith: (emoji) => `Réagir avec ${emoji}`,
  reactedBy: (emoji, names) => `${emoji} de ${names}`,
  otherEmoji: 'Un autre émoji',
  emoji: 'Émojis',
  copyText: 'Copier le texte',
  forward: 'Transférer',
  forwardTo: 'Transférer à',
  nobodyToChoose: 'Il n’y a encore personne.',
  edit: 'Modifier',
  edited: 'modifié',
  editing: 'Modifier le message',
  save: 'Enregistrer',
  star: 'Marquer d’une étoile',
  unstar: 'Retirer l’étoile',
  starredMark: 'Avec une étoile',
  starred: 'Messages avec étoile',
  noStars: 'Marquez un message d’une étoile pour le retrouver ici. Elle l’est sur tous vos appareils.',
  info: 'Infos du message',
  readBy: 'Lu par',
  notYetReadBy: 'Pas encore lu par',
  deleteForAll: 'Supprimer pour tous',
  deleteTitle: 'Supprimer ce message pour tous ?',
  deleteHint: 'On demande aux applications de tous de l’effacer. Qui l’a lu le connaît tout de même.',
  deleted: 'Ce message a été supprimé',
  youDeleted: 'Vous avez supprimé ce message',
  encrypted: (method) => `Ce message est chiffré${method ? ` (${method})` : ''}. bavard ne sait pas encore lire ces messages ; l’application à laquelle il est destiné le peut.`,
  encryptedShort: 'Message chiffré',
  undone: 'Cette modification n’a pas été faite.',
  toQuoted: (name) => `Aller au message de ${name} auquel ceci répond`,
  quotedUnknown: 'Un message',
  notFoundQuoted: 'Ce message n’existe plus.',
  replyingTo: (name) => `Réponse à ${name}`,
  replyToSelf: 'Réponse à vous-même',

  tickWords: (tick) => ['En attente d’envoi', 'Envoyé', 'Distribué', 'Lu'][tick] ?? 'Non envoyé',
  notSent: 'Non envoyé.',
  refusal: (condition, text) => {
    switch (condition) {
      case 'item-not-found':
      case 'service-unavailable':
      case 'recipient-unavailable':
        return 'Il n’y a personne à cette adresse.'
      case 'remote-server-not-found':
      case 'remote-server-timeout':
        return 'Son serveur est injoignable.'
      case 'forbidden':
      case 'not-allowed':
      case 'not-acceptable':
        return 'Vos messages ne sont pas acceptés.'
      case 'file-too-large':
        return 'Le fichier est trop grand.'
      case 'file-quota':
        return 'Il n’y a plus de place pour vos fichiers sur le serveur.'
      case 'file-unsupported':
        return 'Ce serveur n’accepte pas de fichiers.'
      case 'file-refused':
        return 'Le serveur n’accepte pas ce fichier.'
      case 'gone':
        return 'Le fichier n’est plus sur cet appareil.'
      case 'policy-violation':
      case 'resource-constraint':
        return text || 'Le serveur ne l’accepte pas en ce moment.'
      default:
        return text || 'Le serveur ne l’a pas accepté.'
    }
  },
  retry: 'Réessayer',
  delete: 'Supprimer',

  request: (name) => `${name} souhaite voir quand vous êtes en ligne.`,
  allow: 'Autoriser',
  notNow: 'Pas maintenant',

  picture: {
    change: 'Changer la photo',
    remove: 'Retirer la photo',
    unreadable: 'Ce fichier n’est pas une image que le navigateur sait lire.',
  },
  contact: {
    info: 'Infos du contact',
    name: 'Nom',
    rename: 'Changer le nom',
    shared: 'Groupes en commun',
    block: (name) => `Bloquer ${name}`,
    unblock: (name) => `Débloquer ${name}`,
    blocked: (name) => `Vous avez bloqué ${name}.`,
    blockTitle: (name) => `Bloquer ${name} ?`,
    blockHint: 'Cette personne ne pourra plus vous écrire ni voir quand vous êtes en ligne. Elle n’en est pas informée.',
    blockSure: 'Bloquer',
  },
  group: {
    name: 'Nom du groupe',
    description: 'Description',
    people: 'Membres',
    make: 'Créer le groupe',
    making: 'Un instant…',
    notNow: 'Il faut une connexion. Réessayez dans un moment.',
    failed: (why) => (why.includes('not connected') || why === '' ? 'Il faut une connexion. Réessayez dans un moment.' : `Le groupe refuse : ${why}`),
    privacy: 'Seuls les membres voient un groupe, et qui en fait partie.',
    info: 'Infos du groupe',
    members: (n) => many(n, 'membre', 'membres'),
    here: (n) => many(n, 'personne ici', 'personnes ici'),
    onlyAdmins: 'Seuls les admins écrivent',
    anyoneInvites: 'Les membres peuvent en ajouter d’autres',
    onlyAdminsHint: 'Seuls les admins peuvent écrire ici.',
    add: 'Ajouter des membres',
    owner: 'Propriétaire',
    admin: 'Admin',
    makeAdmin: 'Nommer admin',
    unmakeAdmin: 'Retirer des admins',
    remove: 'Retirer',
    write: (name) => `Écrire à ${name}`,
    leave: 'Quitter le groupe',
    leaveTitle: (name) => `Quitter ${name} ?`,
    leaveHint: 'Vous ne verrez plus ce qui s’y dit. Ce que vous avez reste sur cet appareil.',
    left: 'Vous avez quitté ce groupe.',
    removed: 'Vous ne faites plus partie de ce groupe.',
    gone: 'Ce groupe n’existe plus.',
    invited: (by, name) => `${by} vous invite dans le groupe ${name}.`,
    join: 'Rejoindre',
    forget: 'Retirer de la liste',
    invitation: 'Vous invite dans un groupe',
    event: (kind, who, name) => {
      switch (kind) {
        case 'created':
          return `${who} a créé le groupe`
        case 'joined':
          return `${who} a rejoint le groupe`
        case 'left':
          return `${who} est parti·e`
        case 'admin':
          return `${who} est maintenant admin`
        case 'member':
          return `${who} n’est plus admin`
        case 'named':
          return `Le groupe s’appelle maintenant ${name}`
        default:
          return who
      }
    },
    youEvent: (kind) => {
      switch (kind) {
        case 'created':
          return 'Vous avez créé le groupe'
        case 'joined':
          return 'Vous avez rejoint le groupe'
        case 'left':
          return 'Vous êtes parti·e'
        case 'admin':
          return 'Vous êtes maintenant admin'
        default:
          return 'Vous n’êtes plus admin'
      }
    },
    mentioned: 'On vous a mentionné·e',
    mention: 'Mentionner quelqu’un',
  },
}
