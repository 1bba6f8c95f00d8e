// SPDX-License-Identifier: Apache-2.0

import type { Strings } from '../strings'

const many = (n: number, one: string, other: string): string => (n === 1 ? `${n} ${one}` : `${n} ${other}`)

export const words: Strings = {
  app: 'bavard',
  close: 'Cerrar',
  back: 'Atrás',
  cancel: 'Cancelar',
  copy: 'Copiar',
  copied: 'Copiado',
  you: 'Tú',

  chats: 'Chats',
  newChat: 'Nuevo chat',
  yourProfile: 'Tú',
  search: 'Buscar',
  clearSearch: 'Borrar la búsqueda',
  archived: 'Archivados',
  pinned: 'fijado',
  muted: 'silenciado',
  filters: { all: 'Todos', unread: 'Sin leer', groups: 'Grupos' },
  noneIn: { all: '', unread: 'Lo has leído todo.', groups: 'Aún no estás en ningún grupo.' },
  nothingFound: 'No se encontró nada',
  messagesFound: 'Mensajes',
  sayHello: 'Saluda',
  wantsToConnect: 'Quiere conectar contigo',
  typing: 'escribiendo…',
  recording: 'grabando…',
  typingBy: (name, more, voice) => (more ? `${name} y ${more} más escriben…` : `${name} ${voice ? 'graba' : 'escribe'}…`),
  online: 'en línea',
  draft: 'Borrador:',
  unread: (n) => many(n, 'mensaje sin leer', 'mensajes sin leer'),
  noChats: 'Aún no hay chats',
  noChatsHint: 'Empieza uno con la dirección de alguien, o envíale tu enlace.',
  pickChat: 'Elige un chat, o empieza uno nuevo.',
  tagline: 'Mensajes que llegan.',

  contacts: 'Contactos',

  messagesWith: (name) => `Mensajes con ${name}`,
  message: 'Mensaje',
  writeTo: (name) => `Escribir a ${name}`,
  send: 'Enviar',
  unreadDivider: (n) => many(n, 'mensaje sin leer', 'mensajes sin leer'),
  loadingOlder: 'Cargando mensajes anteriores…',
  beginning: 'Aquí empieza el chat.',
  emptyChat: (name) => `Aún no hay nada. Saluda a ${name}.`,
  olderWait: 'Los mensajes anteriores llegarán cuando haya conexión.',
  toNewest: 'Al último mensaje',
  readMore: 'Leer más',
  today: 'Hoy',
  yesterday: 'Ayer',
  tooLong: 'Es demasiado largo para un solo mensaje.',
  notKept: 'Este dispositivo no pudo guardar el mensaje. ¿Está llena su memoria?',
  saidBy: (name) => `${name}:`,

  kinds: { image: 'Foto', video: 'Vídeo', voice: 'Mensaje de voz', audio: 'Audio', file: 'Documento' },
  attach: 'Adjuntar',
  record: 'Grabar un mensaje de voz',
  reply: 'Responder',
  react: 'Reaccionar',
  more: 'Más',
  menuOf: 'Qué hacer con este mensaje',
  reactWith: (emoji) => `Reaccionar con ${emoji}`,
  reactedBy: (emoji, names) => `${emoji} de ${names}`,
  otherEmoji: 'Otro emoji',
  emoji: 'Emojis',
  copyText: 'Copiar texto',
  forward: 'Reenviar',
  forwardTo: 'Reenviar a',
  nobodyToChoose: 'Aún no hay nadie.',
  edit: 'Editar',
  edited: 'editado',
  editing: 'Editar mensaje',
  save: 'Guardar',
  star: 'Destacar',
  unstar: 'No destacar',
  starredMark: 'Destacado',
  starred: 'Mensajes destacados',
  noStars: 'Destaca un mensaje para volver a encontrarlo aquí. Queda destacado en todos tus dispositivos.',
  info: 'Información del mensaje',
  readBy: 'Leído por',
  notYetReadBy: 'Aún no leído por',
  deleteForAll: 'Eliminar para todos',
  deleteTitle: '¿Eliminar este mensaje para todos?',
  deleteHint: 'Se pide a la aplicación de cada uno que lo borre. Quien lo haya leído lo sabe igualmente.',
  deleted: 'Este mensaje fue eliminado',
  youDeleted: 'Eliminaste este mensaje',
  encrypted: (method) => `Este mensaje está cifrado${method ? ` (${method})` : ''}. bavard aún no puede leer estos mensajes; la aplicación para la que se escribió sí puede.`,
  encryptedShort: 'Mensaje cifrado',
  undone: 'Este cambio no se hizo.',
  toQuoted: (name) => `Ir al mensaje de ${name} al que responde`,
  quotedUnknown: 'Un mensaje',
  notFoundQuoted: 'Ese mensaje ya no está.',
  replyingTo: (name) => `Responder a ${name}`,
  replyToSelf: 'Responderte a ti',

  tickWords: (tick) => ['Esperando para enviarse', 'Enviado', 'Entregado', 'Leído'][tick] ?? 'No enviado',
  notSent: 'No enviado.',
  refusal: (condition, text) => {
    switch (condition) {
      case 'item-not-found':
      case 'service-unavailable':
      case 'recipient-unavailable':
        return 'No hay nadie con esta dirección.'
      case 'remote-server-not-found':
      case 'remote-server-timeout':
        return 'No se puede alcanzar su servidor.'
      case 'forbidden':
      case 'not-allowed':
      case 'not-acceptable':
        return 'No acepta mensajes tuyos.'
      case 'file-too-large':
        return 'El archivo es demasiado grande.'
      case 'file-quota':
        return 'No queda sitio para tus archivos en el servidor.'
      case 'file-unsupported':
        return 'Este servidor no acepta archivos.'
      case 'file-refused':
        return 'El servidor no acepta este archivo.'
      case 'gone':
        return 'El archivo ya no está en este dispositivo.'
      case 'policy-violation':
      case 'resource-constraint':
        return text || 'El servidor no lo acepta ahora.'
      default:
        return text || 'El servidor no lo aceptó.'
    }
  },
  retry: 'Reintentar',
  delete: 'Eliminar',

  request: (name) => `${name} quiere ver cuándo estás en línea.`,
  allow: 'Permitir',
  notNow: 'Ahora no',

  picture: {
    change: 'Cambiar la foto',
    remove: 'Quitar la foto',
    unreadable: 'Este archivo no es una imagen que el navegador pueda leer.',
  },
  contact: {
    info: 'Información del contacto',
    name: 'Nombre',
    rename: 'Cambiar el nombre',
    shared: 'Grupos en común',
    block: (name) => `Bloquear a ${name}`,
    unblock: (name) => `Desbloquear a ${name}`,
    blocked: (name) => `Has bloqueado a ${name}.`,
    blockTitle: (name) => `¿Bloquear a ${name}?`,
    blockHint: 'Ya no podrá escribirte ni ver cuándo estás en línea. No se le avisa.',
    blockSure: 'Bloquear',
  },
  group: {
    name: 'Nombre del grupo',
    description: 'Descripción',
    people: 'Miembros',
    make: 'Crear grupo',
    making: 'Un momento…',
    notNow: 'Hace falta conexión. Inténtalo de nuevo en un momento.',
    failed: (why) => (why.includes('not connected') || why === '' ? 'Hace falta conexión. Inténtalo de nuevo en un momento.' : `El grupo dice que no: ${why}`),
    privacy: 'Solo los miembros ven un grupo y quién está en él.',
    info: 'Información del grupo',
    members: (n) => many(n, 'miembro', 'miembros'),
    here: (n) => many(n, 'persona aquí', 'personas aquí'),
    onlyAdmins: 'Solo escriben los administradores',
    anyoneInvites: 'Los miembros pueden añadir a otros',
    onlyAdminsHint: 'Aquí solo pueden escribir los administradores.',
    add: 'Añadir miembros',
    owner: 'Propietario',
    admin: 'Admin',
    makeAdmin: 'Hacer administrador',
    unmakeAdmin: 'Quitar como administrador',
    remove: 'Quitar',
    write: (name) => `Escribir a ${name}`,
    leave: 'Salir del grupo',
    leaveTitle: (name) => `¿Salir de ${name}?`,
    leaveHint: 'Ya no verás lo que se dice allí. Lo que tienes se queda en este dispositivo.',
    left: 'Saliste de este grupo.',
    removed: 'Ya no estás en este grupo.',
    gone: 'Este grupo ya no existe.',
    invited: (by, name) => `${by} te invita al grupo ${name}.`,
    join: 'Unirse',
    forget: 'Quitar de la lista',
    invitation: 'Te invita a un grupo',
    event: (kind, who, name) => {
      switch (kind) {
        case 'created':
          return `${who} creó el grupo`
        case 'joined':
          return `${who} se unió`
        case 'left':
          return `${who} salió`
        case 'admin':
          return `${who} ahora administra el grupo`
        case 'member':
          return `${who} ya no administra el grupo`
        case 'named':
          return `El grupo se llama ahora ${name}`
        default:
          return who
      }
    },
    youEvent: (kind) => {
      switch (kind) {
        case 'created':
          return 'Creaste el grupo'
        case 'joined':
          return 'Te uniste'
        case 'left':
          return 'Saliste'
        case 'admin':
          return 'Ahora administras el grupo'
        default:
          return 'Ya no administras el grupo'
      }
    },
    mentioned: 'Te mencionaron',
    mention: 'Mencionar a alguien',
  },
}
