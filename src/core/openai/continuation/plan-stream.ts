import type { Config } from '../../config.ts';
import type { EngineRoute } from '../routes.ts';
import type { ContinuationWay } from './continuation.ts';
import { planContinuation } from './continuation-plan.ts';
import { canReplay } from './replay.ts';

/** `fast`: as soon as may be; `exact`: only so that the answer is the same; `off`: not at all. */
export type ContinuationMode = 'fast' | 'exact' | 'off';

/** What a server's streams go by. */
export interface ContinuationRules {
  readonly mode: ContinuationMode;
  /** Whether the engine is known to go on behind the beginning of a chat's answer. */
  readonly chatGoesOn: boolean;
}

/** Options with which llama-server overlooks `continue_final_message` and begins the answer anew. */
const ANSWERS_ANEW: ReadonlySet<string> = new Set(['--no-jinja', '--skip-chat-parsing']);

/** The rules of a configuration. Of an engine that somebody else runs, neither its options nor its version are known. */
export function continuationRules(
  config: Pick<Config, 'streamContinuation' | 'engineUrl' | 'engine'>,
  mode: ContinuationMode = config.streamContinuation,
): ContinuationRules {
  const { engineUrl, engine } = config;
  return { mode, chatGoesOn: engineUrl === null && !engine.args.some((option) => ANSWERS_ANEW.has(option)) };
}

/** How one stream will go on if its engine is lost. */
export interface StreamPlan {
  readonly way: ContinuationWay;
  readonly isExact: boolean;
  /** The first engine must be given a seed. */
  readonly needsSeed: boolean;
}

/** Decides from a parsed body. @returns null when the stream would end with an error instead. */
export function planStream(
  route: EngineRoute,
  fields: Readonly<Record<string, unknown>>,
  { mode: asked, chatGoesOn }: ContinuationRules,
): StreamPlan | null {
  if (asked === 'off') return null;
  const mode = route.dialect === 'chat' && !chatGoesOn ? 'exact' : asked;
  const facts = { route, fields, mode, hasMedia: hasMedia(fields['messages']), canReplay: canReplay(route, fields) };
  const { way, needsSeed } = planContinuation(facts);
  if (way === null) return null;
  // The others go on behind what was sent, however it came about.
  return { way, isExact: mode === 'exact', needsSeed: needsSeed && way === 'replay' };
}

/** Whether a chat has parts that are no text. */
export function hasMedia(messages: unknown): boolean {
  if (!Array.isArray(messages)) return false;
  return messages.some((message: { content?: unknown } | null) => {
    const content = message?.content;
    return Array.isArray(content) && content.some((part: { type?: unknown } | null) => part?.type !== 'text');
  });
}
