import type { Config } from '../../config.ts';
import type { EngineRoute } from '../routes.ts';
import type { ContinuationWay } from './continuation.ts';
import { planContinuation } from './continuation-plan.ts';
import { asksForJson } from '../json-answer.ts';
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

/** What one caller asks of its stream. */
export interface StreamRules extends ContinuationRules {
  /** `complete`: nothing goes out before the answer is complete, and JSON where the request asks for JSON. */
  readonly commit?: 'complete' | undefined;
  /** The end of the stream tells how often it went on. */
  readonly isTraced?: boolean;
}

/** What happens to one stream if its engine is lost, and how it is delivered. */
export interface StreamPlan {
  /** null: it does not go on behind what its caller has. */
  readonly way: ContinuationWay | null;
  readonly isExact: boolean;
  /** The first engine must be given a seed. */
  readonly needsSeed: boolean;
  /** Held back until it is complete, or complete and valid JSON; null: its events go out as they come. */
  readonly commit: 'complete' | 'valid-json' | null;
  readonly isTraced: boolean;
}

const NOT_CONTINUED = { way: null, isExact: false, needsSeed: false };

/** Decides from a parsed body. @returns null when the stream would end with an error, and nothing else is asked of it. */
export function planStream(
  route: EngineRoute,
  fields: Readonly<Record<string, unknown>>,
  rules: StreamRules,
): StreamPlan | null {
  const { commit, isTraced = false } = rules;
  if (commit === 'complete' && route.canStream) {
    // As long as nobody has any of it, it is asked for again.
    return { ...NOT_CONTINUED, commit: asksForJson(fields) ? 'valid-json' : 'complete', isTraced };
  }
  const going = planGoingOn(route, fields, rules);
  if (going === null) return isTraced ? { ...NOT_CONTINUED, commit: null, isTraced } : null;
  return { ...going, commit: null, isTraced };
}

function planGoingOn(
  route: EngineRoute,
  fields: Readonly<Record<string, unknown>>,
  { mode: asked, chatGoesOn }: ContinuationRules,
): Pick<StreamPlan, 'way' | 'isExact' | 'needsSeed'> | null {
  if (asked === 'off') return null;
  const mode = route.dialect === 'chat' && !chatGoesOn ? 'exact' : asked;
  const facts = { route, fields, mode, hasMedia: hasMedia(fields['messages']), canReplay: canReplay(route, fields) };
  const { way, needsSeed } = planContinuation(facts);
  if (way === null) return null;
  return { way, isExact: mode === 'exact', needsSeed };
}

/** Whether a chat has parts that are no text. */
export function hasMedia(messages: unknown): boolean {
  if (!Array.isArray(messages)) return false;
  return messages.some((message: { content?: unknown } | null) => {
    const content = message?.content;
    return Array.isArray(content) && content.some((part: { type?: unknown } | null) => part?.type !== 'text');
  });
}
