import type { GatewayResponse } from './gateway-message.ts';

/** Beyond this the copy costs more than it saves, in bytes. */
const MOST_COPIED_BYTES = 8192;
const CARRIAGE_RETURN = 0x0d;
const LINE_FEED = 0x0a;

/**
 * Writes one part of an answer whose head is on its way, as `response.write` does. Where the answer is chunked and its client has
 * taken all that was written before, the chunk (RFC 9112, section 7.1) goes to the socket as one buffer: `response.write` makes
 * four writes of it, and takes half as long again.
 * @returns false when the client has not taken what was written before; the response's `drain` follows then.
 */
export function writeChunk(response: GatewayResponse, data: Buffer): boolean {
  const { socket } = response;
  // With something left to send node:http has to keep the account that `drain` comes from. What is left may be at the socket, or, from
  // Node 26 on, with the response, which keeps what is written to the end of the turn, its head included.
  const isPlain =
    response.chunkedEncoding && data.length <= MOST_COPIED_BYTES && data.length > 0 && response.writableLength === 0;
  if (!isPlain || socket === null || response.writableEnded) return response.write(data);
  socket.write(chunkOf(data));
  return true;
}

function chunkOf(data: Buffer): Buffer {
  const size = data.length.toString(16);
  const start = size.length + 2;
  const chunk = Buffer.allocUnsafe(start + data.length + 2);
  chunk.write(size, 'latin1');
  chunk[start - 2] = CARRIAGE_RETURN;
  chunk[start - 1] = LINE_FEED;
  chunk.set(data, start);
  chunk[chunk.length - 2] = CARRIAGE_RETURN;
  chunk[chunk.length - 1] = LINE_FEED;
  return chunk;
}
