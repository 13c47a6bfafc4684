import { EventWalk } from './continuation/event-walk.ts';
import { isRecord, parsedObject } from './continuation/json-bytes.ts';
import type { Dialect } from './routes.ts';

const NOTHING = Buffer.alloc(0);
/** What may be the last event with data. In chats and completions one with the usage may follow the one that finishes. */
const TRAILING: Readonly<Partial<Record<Dialect, RegExp>>> = {
  chat: /"finish_reason":"|"choices":\[\]/,
  completions: /"finish_reason":"|"choices":\[\]/,
  completion: /"stop":true/,
  responses: /"type":"response\.(?:completed|incomplete)"/,
  messages: /"type":"message_stop"/,
};

/**
 * Writes `"llamero":{"continued":n}` into the last event of a stream, for callers who asked for it: in chats and completions
 * the last one ahead of `[DONE]`, on `/completion` the final event (of several answers each one's own), else
 * `response.completed` and `message_stop`. A member more in an event that every client knows breaks none of them.
 */
export class StreamTrace {
  readonly #trailing: RegExp | undefined;
  readonly #hasDone: boolean;
  readonly #walk = new EventWalk();
  /** An event that is the last one if `[DONE]` follows. */
  #held: Buffer | null = null;

  constructor(dialect: Dialect) {
    this.#trailing = TRAILING[dialect];
    this.#hasDone = dialect === 'chat' || dialect === 'completions';
  }

  /**
   * @param run whole events on their way to the caller.
   * @param continued how often the stream has gone on with another engine.
   * @returns what goes out now; an event that may be the last one follows with the next run.
   */
  take(run: Buffer, continued: number): Buffer {
    const walk = this.#walk;
    const out: Buffer[] = [];
    for (walk.begin(run); walk.next();) {
      const event = run.subarray(walk.start, walk.end);
      if (!walk.hasData) {
        out.push(event);
        continue;
      }
      if (this.#held !== null) out.push(walk.isDone ? marked(this.#held, continued) : this.#held);
      this.#held = null;
      if (this.#trailing?.test(run.toString('latin1', walk.dataStart, walk.dataEnd)) !== true) out.push(event);
      else if (this.#hasDone) this.#held = event;
      else out.push(marked(event, continued));
    }
    return out.length === 0 ? NOTHING : Buffer.concat(out);
  }

  /** What is still held at the end of a stream. */
  rest(): Buffer {
    const held = this.#held ?? NOTHING;
    this.#held = null;
    return held;
  }
}

function marked(event: Buffer, continued: number): Buffer {
  const walk = new EventWalk();
  walk.begin(event);
  walk.next();
  const data = parsedObject(event.toString('utf8', walk.dataStart, walk.dataEnd));
  if (data === null) return event;
  // A notice of llamero's own may be there already.
  const own = isRecord(data['llamero']) ? data['llamero'] : {};
  const json = JSON.stringify({ ...data, llamero: { ...own, continued } });
  return Buffer.concat([event.subarray(0, walk.dataStart), Buffer.from(json), event.subarray(walk.dataEnd)]);
}
