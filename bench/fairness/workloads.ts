import { ANONYMOUS, type Client } from '../../src/core/admission/client.ts';

/** One request of a workload. */
export interface Arrival {
  readonly atMs: number;
  readonly client: Client;
  readonly promptTokens: number;
  readonly generatedTokens: number;
}

/** What several clients send, and whose waiting is of interest. */
export interface Workload {
  readonly name: string;
  readonly what: string;
  readonly clients: readonly Client[];
  /** In order of time. */
  readonly arrivals: readonly Arrival[];
  readonly lengthMs: number;
}

const LENGTH_MS = 600_000;

interface Traffic {
  /** Requests a minute. */
  readonly rate: number;
  readonly prompt: number;
  readonly generated: number;
  /** Arrivals at random (Poisson) instead of evenly. */
  readonly poisson?: boolean;
  /** On for so long, off for as long. */
  readonly onOffMs?: number;
}

/** The synthetic workloads of the paper ("Fairness in Serving Large Language Models", section 5.2), in the sizes of one llama-server. */
export function workloads(random: () => number): Workload[] {
  const make = (name: string, what: string, traffic: readonly (readonly [Client, Traffic])[]): Workload => ({
    name,
    what,
    clients: traffic.map(([client]) => client),
    arrivals: traffic
      .flatMap(([client, of]) => arrivals(client, of, random))
      .toSorted((one, other) => one.atMs - other.atMs),
    lengthMs: LENGTH_MS,
  });
  const [light, heavy] = [clientNamed('light'), clientNamed('heavy')];
  return [
    make('overload', 'both send more than the engine can do: 90 and 180 requests a minute, 256 + 256 tokens', [
      [light, { rate: 90, prompt: 256, generated: 256 }],
      [heavy, { rate: 180, prompt: 256, generated: 256 }],
    ]),
    make('on/off', 'light sends 20 a minute every other minute, heavy 120 a minute all the time', [
      [light, { rate: 20, prompt: 256, generated: 256, onOffMs: 60_000 }],
      [heavy, { rate: 120, prompt: 256, generated: 256 }],
    ]),
    make('Poisson', 'at random: light 60 a minute of 512 + 64 tokens, heavy 120 a minute of 64 + 512', [
      [light, { rate: 60, prompt: 512, generated: 64, poisson: true }],
      [heavy, { rate: 120, prompt: 64, generated: 512, poisson: true }],
    ]),
    make('light beside heavy', 'light asks 6 short questions a minute, heavy sends 300 long requests a minute', [
      [light, { rate: 6, prompt: 100, generated: 50, poisson: true }],
      [heavy, { rate: 300, prompt: 512, generated: 256 }],
    ]),
    make('classes and weights', 'everybody floods: interactive; default with weight 1 and with weight 3; batch', [
      [clientNamed('interactive', { priority: 'interactive' }), { rate: 120, prompt: 256, generated: 128 }],
      [clientNamed('default', { weight: 1 }), { rate: 120, prompt: 256, generated: 128 }],
      [clientNamed('default ×3', { weight: 3 }), { rate: 120, prompt: 256, generated: 128 }],
      [clientNamed('batch', { priority: 'batch' }), { rate: 120, prompt: 256, generated: 128 }],
    ]),
  ];
}

function clientNamed(name: string, changes: Partial<Client> = {}): Client {
  return { ...ANONYMOUS, pool: 'user', key: `user:${name}`, ...changes };
}

function arrivals(client: Client, traffic: Traffic, random: () => number): Arrival[] {
  const meanMs = 60_000 / traffic.rate;
  const found: Arrival[] = [];
  // Nobody begins at the same moment as somebody else.
  let atMs = meanMs * random();
  while (atMs < LENGTH_MS) {
    const isOff = traffic.onOffMs !== undefined && Math.floor(atMs / traffic.onOffMs) % 2 === 1;
    if (!isOff) found.push({ atMs, client, promptTokens: traffic.prompt, generatedTokens: traffic.generated });
    atMs += traffic.poisson ? -Math.log(1 - random()) * meanMs : meanMs;
  }
  return found;
}
