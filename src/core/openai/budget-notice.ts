import type { Dialect } from './routes.ts';

/** With its line end, which no text of a model has: there it would be escaped. */
const DONE = Buffer.from('data: [DONE]\n');
/** How the last event of each dialect without `[DONE]` is known. */
const LAST: Readonly<Record<string, RegExp>> = {
  completion: /"stop":true/,
  messages: /"type":"message_stop"/,
  responses: /"type":"response\.(completed|incomplete)"/,
};

/**
 * Explains the end of an answer that a token limit has cut short.
 * @param cap how many tokens were left.
 * @param generated how many it has, asked for at the end of the stream only.
 */
export function withNoticeAtCap(run: Buffer, dialect: Dialect, cap: number, generated: () => number): Buffer {
  if (!endsStream(run, dialect) || generated() < cap) return run;
  const message = `The answer ends here because the token limit of its client is used up (${cap} tokens were left).`;
  return withNotice(run, dialect, message);
}

/** Whether a run of events holds the end of its stream. */
export function endsStream(run: Buffer, dialect: Dialect): boolean {
  const last = LAST[dialect];
  return last === undefined ? run.includes(DONE) : last.test(run.toString());
}

/**
 * Adds, ahead of the last event, one that explains why an answer is shorter than was asked for. It has the shape of the
 * dialect's own, so that clients which do not know it skip it: no choices, no content, a type of its own.
 *
 * @param run ends with the end of the stream.
 */
export function withNotice(run: Buffer, dialect: Dialect, message: string): Buffer {
  const at = run.lastIndexOf('\n\n', -3) + 1;
  const start = at === 0 ? 0 : at + 1;
  return Buffer.concat([
    run.subarray(0, start),
    notice(dialect, { code: 'rate_limit_exceeded', message }),
    run.subarray(start),
  ]);
}

function notice(dialect: Dialect, llamero: Record<string, string>): Buffer {
  switch (dialect) {
    case 'chat':
      return event({ object: 'chat.completion.chunk', choices: [], llamero });
    case 'completions':
      return event({ object: 'text_completion', choices: [], llamero });
    case 'responses':
    case 'messages': {
      const type = dialect === 'responses' ? 'response.llamero' : 'llamero';
      return Buffer.concat([Buffer.from(`event: ${type}\n`), event({ type, llamero })]);
    }
    default:
      return event({ content: '', stop: false, llamero });
  }
}

function event(data: Record<string, unknown>): Buffer {
  return Buffer.from(`data: ${JSON.stringify(data)}\n\n`);
}
