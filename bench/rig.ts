import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { addApiKey } from '../src/gateway/key-store.ts';
import type { HoldJob, LoadJob, LoadResult } from './processes/load.ts';
import { MeasuredProcess } from './processes/measured-process.ts';
import type { Behaviour } from './processes/upstream.ts';

/** What is compared: the upstream itself, llamero, llamero with API keys, the bare proxy, and a pipe of bytes. */
export type SubjectName = 'direct' | 'llamero' | 'llamero-keys' | 'bare' | 'pipe';

const PROGRAMS = {
  llamero: 'llamero-gateway.ts',
  'llamero-keys': 'llamero-gateway.ts',
  bare: 'bare-proxy.ts',
  pipe: 'byte-pipe.ts',
} as const;

/** Somewhere the load can be sent. */
export interface Subject {
  readonly name: SubjectName;
  readonly port: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The process between load and upstream; null for direct. */
  readonly gateway: MeasuredProcess | null;
}

/** An upstream, a load generator, and what is compared, all running. */
export interface Rig extends AsyncDisposable {
  readonly subjects: readonly Subject[];
  run(subject: Subject, job: Omit<LoadJob, 'port' | 'headers'>): Promise<LoadResult>;
  hold(subject: Subject, job: Omit<HoldJob, 'port'>): Promise<void>;
  /** Resolves when the upstream has so many requests that it will not answer. */
  untilInHand(count: number): Promise<void>;
  /** Closes the connections of {@link hold}. */
  letGo(): Promise<void>;
}

/** What a rig is made of beside its subjects. */
export interface RigOptions {
  /** Requests at a time: what the upstream says it has, and the bound of the gateway. Default 256. */
  slots?: number;
  /** An upstream that runs already. Default: the bench's own. */
  upstreamPort?: number;
}

/** Starts the processes. */
export async function startRig(names: readonly SubjectName[], options: RigOptions = {}): Promise<Rig> {
  const { slots = 256 } = options;
  await using stack = new AsyncDisposableStack();
  const upstream =
    options.upstreamPort === undefined ? stack.use(MeasuredProcess.start('upstream.ts', 'load', { slots })) : null;
  const load = stack.use(MeasuredProcess.start('load.ts', 'load'));
  const upstreamPort = options.upstreamPort ?? (await upstream?.port) ?? 0;
  const subjects: Subject[] = [];
  for (const name of names) {
    if (name === 'direct') {
      subjects.push({ name, port: upstreamPort, headers: {}, gateway: null });
      continue;
    }
    const key = name === 'llamero-keys' ? await temporaryKey(stack) : null;
    const argument = { upstream: upstreamPort, slots, apiKeyFile: key?.file ?? null };
    const gateway = stack.use(MeasuredProcess.start(PROGRAMS[name], 'gateway', argument, gatewayOptions()));
    const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key.key}` };
    subjects.push({ name, port: await gateway.port, headers, gateway });
  }
  const owned = stack.move();
  return {
    subjects,
    run: ({ port, headers }, job) => load.ask<LoadResult>('run', { ...job, port, headers } satisfies LoadJob),
    hold: ({ port }, job) => load.ask<undefined>('hold', { ...job, port } satisfies HoldJob),
    untilInHand: async (count) => upstream?.ask<undefined>('until-in-hand', count),
    letGo: () => load.ask<undefined>('let-go', {}),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Extra options of Node for the gateway under test, such as `--cpu-prof`: see README.md. */
function gatewayOptions(): string[] {
  return (process.env['BENCH_GATEWAY_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');
}

async function temporaryKey(stack: AsyncDisposableStack): Promise<{ file: string; key: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), 'llamero-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const file = path.join(directory, 'keys.json');
  const { key } = await addApiKey(file, 'bench');
  return { file, key };
}

const PROMPT_BYTES = 800;

/** A chat request of about 1 KB that the upstream answers as asked. */
export function chatRequest(bench: Behaviour): Record<string, unknown> {
  return {
    model: 'bench',
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: 'word '.repeat(PROMPT_BYTES / 5) },
    ],
    max_tokens: 64,
    temperature: 0.7,
    ...(bench.kind === 'stream' ? { stream: true } : {}),
    bench,
  };
}
