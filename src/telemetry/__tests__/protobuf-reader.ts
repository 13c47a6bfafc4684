/**
 * The wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding/), as far as OTLP uses it: enough to
 * read in a test what an exporter sent, by another way than the one that wrote it.
 */

/** Fields of a message by number; each may have come several times. Varints and fixed numbers are bigint, the rest bytes. */
export type Message = ReadonlyMap<number, readonly (bigint | Buffer)[]>;

/** Splits a message into its fields. @throws Error where the bytes are none. */
export function readMessage(bytes: Buffer): Message {
  const fields = new Map<number, (bigint | Buffer)[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at);
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('a field is longer than its message');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const type = key & 7;
    if (![0, 1, 2, 5].includes(type)) throw new Error(`wire type ${type}`);
    const value =
      type === 0
        ? varint()
        : type === 1
          ? take(8).readBigUInt64LE()
          : type === 5
            ? BigInt(take(4).readUInt32LE())
            : take(Number(varint()));
    const list = fields.get(key >> 3) ?? [];
    list.push(value);
    fields.set(key >> 3, list);
  }
  return fields;
}

/** All messages of one field. */
export function messages(message: Message, field: number): Message[] {
  return (message.get(field) ?? []).map((value) => readMessage(value as Buffer));
}

/** Bytes of a field; empty where it did not come. */
export function bytesOf(message: Message, field: number): Buffer {
  return (message.get(field)?.at(-1) as Buffer | undefined) ?? Buffer.alloc(0);
}

/** A number of a field; 0 where it did not come. */
export function numberOf(message: Message, field: number): bigint {
  return (message.get(field)?.at(-1) as bigint | undefined) ?? 0n;
}
