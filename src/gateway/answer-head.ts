/**
 * The head of an answer with status 200 after which the connection stays open, as node:http writes it.
 * @param headers names and values in turn, which are not checked.
 * @param contentLength null: the answer is chunked.
 * @param keepAliveMs how long the connection is kept for another request.
 */
export function headOf(headers: readonly string[], contentLength: number | null, keepAliveMs: number): string {
  let head = 'HTTP/1.1 200 OK\r\n';
  for (let at = 0; at + 1 < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`;
  if (contentLength !== null) head += `content-length: ${contentLength}\r\n`;
  head += `Date: ${dateOf(Date.now())}\r\nConnection: keep-alive\r\n`;
  if (keepAliveMs > 0) head += `Keep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n`;
  return contentLength === null ? `${head}Transfer-Encoding: chunked\r\n\r\n` : `${head}\r\n`;
}

let dateText = '';
let dateSecond = -1;

/** As RFC 9110 wants it (section 5.6.7); it is the same for all answers of a second. */
function dateOf(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(nowMs).toUTCString();
  }
  return dateText;
}
