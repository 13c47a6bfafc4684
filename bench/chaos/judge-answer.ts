import { LIMITED_REQUESTS } from './callers.ts';
import { errorProblem, judgeStream, parse, wholeTexts } from './judge-stream.ts';
import { type PlannedRequest, PROMPTS } from './plan.ts';
import { isChat, promptText } from './requests.ts';
import type { Received } from './wire.ts';

/** What is known before the run: the greedy answers and the embeddings of all prompts. */
export interface References {
  readonly chat: readonly string[];
  readonly plain: readonly string[];
  readonly embeddings: readonly (readonly number[])[];
}

/** What one answer was. */
export interface Verdict {
  /** Short name for the summary. */
  readonly outcome: string;
  /** Code of the error, in a body or in an event; null: none. */
  readonly code: string | null;
  /** Invariants that were broken. */
  readonly problems: readonly string[];
}

/** Judges one answer. `nonce`: what the request was marked with. Pure. */
export function judgeAnswer(planned: PlannedRequest, received: Received, nonce: string, known: References): Verdict {
  if (received.timedOut) return verdict('no answer', null, ['it was not answered']);
  const problems = headerProblems(planned, received, nonce);
  if (received.left) {
    problems.push(...leftProblems(planned, received, known));
    return verdict('left', null, problems);
  }
  if (received.status === 0 || !received.complete) {
    const error = received.error ?? 'no error';
    problems.push(
      `the connection ended in the middle of ${received.status === 0 ? 'nothing' : 'the answer'} (${error})`,
    );
    return verdict('broken', null, problems);
  }
  if (received.status >= 400) return judgeError(received, problems, planned.kind);
  if (received.status !== 200) problems.push(`status ${received.status}`);
  if (planned.kind === 'garbage') problems.push('garbage was answered');
  if (planned.kind === 'stream') return judgeWholeStream(planned, received, known, problems);
  return judgeWhole(planned, received, { nonce, known, problems });
}

/** A refusal of something that is no HTTP: an error answer, and the connection is closed. */
export function judgeRefusal(received: Received): Verdict {
  if (received.timedOut) return verdict('no answer', null, ['the connection was not closed']);
  if (received.status < 400) return verdict('answered', null, [`status ${received.status} for what is no HTTP`]);
  return judgeError(received, [], 'garbage');
}

function judgeError({ status, headers, body }: Received, problems: string[], kind: PlannedRequest['kind']): Verdict {
  const error = parse(body.toString())?.['error'];
  const problem = errorProblem(error);
  if (problem !== null) return verdict('bad error', null, [...problems, `${problem} (status ${status})`]);
  const code = String((error as Record<string, unknown>)['code']);
  if ((status === 429 || status === 503) && !/^[1-9]\d*$/.test(headers['retry-after'] ?? '')) {
    problems.push(`${status} ${code} without Retry-After`);
  }
  const isOurFault = status < 500 && status !== 429 && code !== 'poisonous_request';
  if (code === 'internal_error' || code === 'engine_bad_response') problems.push(code);
  if (isOurFault && kind !== 'garbage') problems.push(`a good request was refused: ${status} ${code}`);
  return verdict(`error ${code}`, code, problems);
}

function judgeWholeStream(planned: PlannedRequest, received: Received, known: References, problems: string[]): Verdict {
  const stream = judgeStream(planned.dialect, received.body.toString());
  problems.push(...stream.problems, ...textProblems(planned, stream.text, known));
  if (stream.ending === 'open') problems.push('the stream ended silently');
  const outcome = {
    whole: stream.cutByLimit ? 'stream cut by limit' : 'stream',
    error: 'stream broken',
    open: 'silent',
  };
  const name = outcome[stream.ending];
  return verdict(stream.code === null ? name : `${name}: ${stream.code}`, stream.code, problems);
}

/** Of what came before the client left, everything but the end must be right. */
function leftProblems(planned: PlannedRequest, { status, body }: Received, known: References): string[] {
  if (status !== 200 || planned.kind !== 'stream') return [];
  const { problems, text } = judgeStream(planned.dialect, body.toString());
  return [...problems, ...textProblems(planned, text, known)];
}

interface WholeContext {
  readonly nonce: string;
  readonly known: References;
  readonly problems: string[];
}

function judgeWhole(planned: PlannedRequest, { body }: Received, { nonce, known, problems }: WholeContext): Verdict {
  const { kind, dialect } = planned;
  const answer = parse(body.toString());
  if (answer === null) problems.push('the answer is no JSON object');
  else if (kind === 'whole') {
    const texts = wholeTexts(dialect, answer);
    if (texts?.length !== planned.sequences) problems.push('the answer has not the shape of its dialect');
    else problems.push(...texts.flatMap((text) => textProblems(planned, text, known)));
  } else problems.push(...smallProblems(planned, answer, nonce, known));
  return verdict(kind, null, problems);
}

function smallProblems(
  { kind, prompt, sequences }: PlannedRequest,
  answer: Record<string, unknown>,
  nonce: string,
  known: References,
) {
  switch (kind) {
    case 'tokenize': {
      const tokens = answer['tokens'] as readonly { piece: string | number[] }[];
      const bytes = tokens.map(({ piece }) => (typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece)));
      return Buffer.concat(bytes).toString() === `${promptText(prompt)} (${nonce})` ? [] : ['tokens of another text'];
    }
    case 'template':
      return String(answer['prompt']).includes(`(${nonce})`) ? [] : ['the template of other messages'];
    case 'embedding': {
      const data = answer['data'] as { embedding: number[] }[];
      if (data.length !== sequences) return [`${data.length} embeddings of ${sequences} texts`];
      return data.flatMap(({ embedding }, index) => vectorProblems(embedding, (prompt + index) % PROMPTS, known));
    }
    default:
      return Number(answer['input_tokens']) > 0 ? [] : ['no count of tokens'];
  }
}

/** The vector is that of its own text more than of any other. */
function vectorProblems(vector: readonly number[], prompt: number, known: References): string[] {
  const likeness = known.embeddings.map((other) => cosine(vector, other));
  return likeness.indexOf(Math.max(...likeness)) === prompt ? [] : [`another embedding: ${likeness.join()}`];
}

/** Greedy decoding gives the same text every time, so that whatever is lost, doubled or somebody else's shows. */
function textProblems({ dialect, prompt }: PlannedRequest, text: string, known: References): string[] {
  const expected = (isChat(dialect) ? known.chat : known.plain)[prompt];
  // An answer that is cut at its last token may end in the middle of a character.
  const sure = text.replace(/\uFFFD+$/, '');
  if (expected === undefined || expected.startsWith(sure)) return [];
  const at = commonLength(sure, expected);
  const owner = [...known.chat, ...known.plain].findIndex((other) => other.startsWith(sure));
  const whose = owner === -1 ? 'is nobody’s' : `is the answer to another prompt (${owner})`;
  return [`the text ${whose} from character ${at} on: ${JSON.stringify(sure.slice(Math.max(0, at - 20), at + 20))}`];
}

function headerProblems({ caller }: PlannedRequest, { status, headers }: Received, nonce: string): string[] {
  if (status === 0) return [];
  const problems: string[] = [];
  if (headers['x-request-id'] !== nonce) problems.push(`x-request-id is ${String(headers['x-request-id'])}`);
  for (const unit of ['requests', 'tokens']) {
    const remaining = headers[`x-ratelimit-remaining-${unit}`];
    if (remaining !== undefined && !/^\d+$/.test(String(remaining)))
      problems.push(`${String(remaining)} ${unit} remain`);
  }
  // Whoever he says that he is, his limits are those of his key.
  const limit = headers['x-ratelimit-limit-requests'];
  if (caller === 'limited' && limit !== undefined && limit !== String(LIMITED_REQUESTS))
    problems.push(`a limit of ${String(limit)}`);
  return problems;
}

function cosine(one: readonly number[], other: readonly number[]): number {
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}

function dot(one: readonly number[], other: readonly number[]): number {
  return one.reduce((sum, value, at) => sum + value * (other[at] ?? 0), 0);
}

function commonLength(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}

function verdict(outcome: string, code: string | null, problems: readonly string[]): Verdict {
  return { outcome, code, problems };
}
