import type { PlannedDialect } from './plan.ts';

/** What a stream turned out to be. */
export interface StreamVerdict {
  /** `whole`: it ended as its dialect ends. `error`: with an error event. `open`: it just stopped. */
  readonly ending: 'whole' | 'error' | 'open';
  readonly text: string;
  /** Of the error event. */
  readonly code: string | null;
  /** llamero said that the tokens of the client were used up. */
  readonly cutByLimit: boolean;
  /** What is wrong with it, apart from an open end. */
  readonly problems: readonly string[];
}

type Data = Record<string, unknown>;

const ERROR_KEYS = ['code', 'message', 'param', 'type'];

/** Reads all events of one stream, and says what is wrong with them. Pure. */
export function judgeStream(dialect: PlannedDialect, body: string): StreamVerdict {
  const stream = new StreamReader(dialect);
  const pieces = body.split('\n\n');
  const rest = pieces.pop() ?? '';
  for (const piece of pieces) stream.take(piece);
  return stream.verdict(rest);
}

/** What is wrong with an error object; null: nothing. */
export function errorProblem(error: unknown): string | null {
  if (!isData(error)) return 'the error is no object';
  const keys = Object.keys(error).sort().join();
  if (keys !== ERROR_KEYS.join()) return `the error has the keys ${keys}`;
  const { message, type, param, code } = error;
  const isFine =
    [message, type, code].every((value) => typeof value === 'string') && (param === null || typeof param === 'string');
  return isFine ? null : `the error is not made of texts: ${JSON.stringify(error)}`;
}

class StreamReader {
  readonly #dialect: PlannedDialect;
  readonly #problems: string[] = [];
  #ending: StreamVerdict['ending'] = 'open';
  #text = '';
  #finished = false;
  #code: string | null = null;
  #cutByLimit = false;

  constructor(dialect: PlannedDialect) {
    this.#dialect = dialect;
  }

  take(event: string): void {
    const lines = event.split('\n').filter((line) => !line.startsWith(':'));
    if (lines.length === 0) return;
    const name = lines.find((line) => line.startsWith('event: '))?.slice(7) ?? null;
    const data = lines.find((line) => line.startsWith('data: '))?.slice(6);
    if (data === undefined) this.#problems.push(`an event without data: ${event.slice(0, 100)}`);
    else if (this.#ending !== 'open') this.#problems.push(`an event after the end: ${event.slice(0, 100)}`);
    else this.#takeData(name, data);
  }

  verdict(rest: string): StreamVerdict {
    if (rest !== '' && this.#ending !== 'open') this.#problems.push(`after the end: ${rest.slice(0, 100)}`);
    return {
      ending: this.#ending,
      text: this.#text,
      code: this.#code,
      cutByLimit: this.#cutByLimit,
      problems: this.#problems,
    };
  }

  #takeData(name: string | null, data: string): void {
    const hasDone = this.#dialect === 'chat' || this.#dialect === 'completions';
    if (data === '[DONE]' && hasDone) {
      if (!this.#finished) this.#problems.push('[DONE] without a finish_reason');
      this.#ending = 'whole';
      return;
    }
    const parsed = parse(data);
    if (parsed === null) this.#problems.push(`data that is no JSON object: ${data.slice(0, 100)}`);
    else if (name === 'error' || isData(parsed['error'])) this.#takeError(name, parsed);
    else if (isData(parsed['llamero'])) this.#cutByLimit = true;
    else this.#takeEvent(parsed);
  }

  #takeError(name: string | null, { type, error }: Data): void {
    this.#ending = 'error';
    const problem = errorProblem(error);
    if (problem !== null) this.#problems.push(problem);
    else this.#code = String((error as Data)['code']);
    const isNamed = this.#dialect === 'messages' || this.#dialect === 'responses';
    if (isNamed !== (name === 'error') || (isNamed && type !== 'error'))
      this.#problems.push('an error event of another dialect');
  }

  #takeEvent(event: Data): void {
    this.#text += textOf(this.#dialect, event);
    if (this.#dialect === 'chat' || this.#dialect === 'completions') {
      this.#finished ||= typeof first(event['choices'])['finish_reason'] === 'string';
      return;
    }
    const type = String(event['type']);
    const isLast =
      event['stop'] === true ||
      type === 'message_stop' ||
      type === 'response.completed' ||
      type === 'response.incomplete';
    if (isLast) this.#ending = 'whole';
  }
}

function textOf(dialect: PlannedDialect, event: Data): string {
  const choice = first(event['choices']);
  switch (dialect) {
    case 'chat':
      return string(record(choice['delta'])['content']);
    case 'completions':
      return string(choice['text']);
    case 'messages':
      return event['type'] === 'content_block_delta' ? string(record(event['delta'])['text']) : '';
    case 'responses':
      return event['type'] === 'response.output_text.delta' ? string(event['delta']) : '';
    default:
      return string(event['content']);
  }
}

/** The texts of a whole answer, one for each choice; null when it has not the shape of its dialect. */
export function wholeTexts(dialect: PlannedDialect, answer: unknown): readonly string[] | null {
  const data = record(answer);
  const choices = Array.isArray(data['choices']) ? data['choices'].map(record) : [];
  const values = {
    chat: choices.map((choice) => record(choice['message'])['content']),
    completions: choices.map((choice) => choice['text']),
    messages: [first(data['content'])['text']],
    responses: [first(first(data['output'])['content'])['text']],
    completion: [data['content']],
  }[dialect];
  return values.every((value) => typeof value === 'string') ? values : null;
}

/** A JSON object out of a text, or null. */
export function parse(text: string): Data | null {
  try {
    const value: unknown = JSON.parse(text);
    return isData(value) ? value : null;
  } catch {
    // The caller says what it thinks of it.
    return null;
  }
}

function isData(value: unknown): value is Data {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function record(value: unknown): Data {
  return isData(value) ? value : {};
}

function first(value: unknown): Data {
  return Array.isArray(value) ? record(value[0]) : {};
}

function string(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
