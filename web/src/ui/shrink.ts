// SPDX-License-Identifier: Apache-2.0

/** How large pictures of people and groups are, in pixels each way. */
export const PICTURE_PX = 256

/** The middle of a picture as a small square. Rejects when it is none that the browser can read. */
export async function shrink(file: Blob): Promise<{ type: string; bytes: Uint8Array<ArrayBuffer> }> {
  const image = await createImageBitmap(file)
  const side = Math.min(image.width, image.height)
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = PICTURE_PX
  const context = canvas.getContext('2d')!
  context.fillStyle = '#fff'
  context.fillRect(0, 0, PICTURE_PX, PICTURE_PX)
  context.drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side, 0, 0, PICTURE_PX, PICTURE_PX)
  image.close()
  const type = 'image/jpeg'
  const blob = await new Promise<Blob>((resolve, reject) => canvas.toBlob((b) => (b ? resolve(b) : reject(new Error('no picture'))), type, 0.85))
  return { type: blob.type, bytes: new Uint8Array(await blob.arrayBuffer()) }
}
