import { EventWalk } from './continuation/event-walk.ts';
import { isRecord, parsedObject } from './continuation/json-bytes.ts';
import { stopStrings } from './continuation/token-budget.ts';
import type { Dialect } from './routes.ts';

type Fields = Readonly<Record<string, unknown>>;

/** One answer of a stream, put together. */
interface Answer {
  text: string;
  /** It ended by itself, not at a limit and not with the call of a tool. */
  isComplete: boolean;
}

/**
 * Whether a request asks for an answer that is JSON. Where it names texts to stop at, the answer ends at those, whatever it is.
 * @param fields the parsed body.
 */
export function asksForJson(fields: Fields): boolean {
  const { response_format: format, json_schema: schema, text, output_config: config } = fields;
  const formats = [format, isRecord(text) ? text['format'] : null, isRecord(config) ? config['format'] : null];
  const isAsked =
    (schema !== undefined && schema !== null) ||
    formats.some((given) => isRecord(given) && (given['type'] === 'json_object' || given['type'] === 'json_schema'));
  return isAsked && stopStrings(fields).length === 0;
}

/**
 * Whether every answer in a whole stream that ended by itself is JSON. One that ended at its limit is not judged: its
 * caller is told so by the answer itself.
 * @param maxTokens limit of the request, null for none: the end of `/v1/responses` does not tell whether it was reached.
 */
export function isJsonAnswer(events: Buffer, dialect: Dialect, maxTokens: number | null): boolean {
  const answers: Answer[] = [];
  const walk = new EventWalk();
  for (walk.begin(events); walk.next();) {
    if (!walk.hasData || walk.isDone) continue;
    const data = parsedObject(events.toString('utf8', walk.dataStart, walk.dataEnd));
    if (data !== null) read(data, dialect, maxTokens, answers);
  }
  return answers.every(({ text, isComplete }) => !isComplete || isJson(text));
}

function read(data: Fields, dialect: Dialect, maxTokens: number | null, answers: Answer[]): void {
  switch (dialect) {
    case 'chat':
    case 'completions':
      if (!Array.isArray(data['choices'])) return;
      for (const choice of data['choices'].filter(isRecord)) {
        const { delta, text, finish_reason: finish } = choice;
        add(answers, choice['index'], isRecord(delta) ? delta['content'] : text, finish === 'stop');
      }
      return;
    case 'responses': {
      const { type, delta, response } = data;
      const isText = type === 'response.output_text.delta';
      const isEnd = type === 'response.completed' && isRecord(response) && !isCutShort(response, maxTokens);
      if (isText || isEnd) add(answers, 0, isText ? delta : '', isEnd && hasMessage(response));
      return;
    }
    case 'messages': {
      const { delta } = data;
      if (!isRecord(delta)) return;
      const { text, stop_reason: reason } = delta;
      add(answers, 0, text, reason === 'end_turn' || reason === 'stop_sequence');
      return;
    }
    default:
      add(answers, data['index'], data['content'], data['stop'] === true && data['stop_type'] !== 'limit');
  }
}

function add(answers: Answer[], index: unknown, text: unknown, isComplete: boolean): void {
  const answer = (answers[typeof index === 'number' ? index : 0] ??= { text: '', isComplete: false });
  if (typeof text === 'string') answer.text += text;
  if (isComplete) answer.isComplete = true;
}

function isCutShort({ usage }: Fields, maxTokens: number | null): boolean {
  return maxTokens !== null && isRecord(usage) && Number(usage['output_tokens']) >= maxTokens;
}

function hasMessage({ output }: Fields): boolean {
  return Array.isArray(output) && output.some((item) => isRecord(item) && item['type'] === 'message');
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    // That is the question.
    return false;
  }
}
