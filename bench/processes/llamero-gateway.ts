import { parseConfig } from '../../src/core/config.ts';
import { LlamaCppProvider } from '../../src/core/llm/llama-cpp-provider.ts';
import { createGateway } from '../../src/gateway/gateway.ts';
import { announcePort } from './agent.ts';

/**
 * llamero as `llamero serve --engine-url` builds it, with every protection of the production profile on. Only the gate is
 * opened as wide as the upstream has slots, because its queue is not what is measured, and limits per caller are out of reach.
 */
const { upstream, slots, apiKeyFile } = JSON.parse(process.argv[2] ?? '{}') as {
  upstream: number;
  slots: number;
  apiKeyFile: string | null;
};
const unreachable = 1_000_000_000;
const config = parseConfig({
  profile: 'production',
  engineUrl: `http://127.0.0.1:${upstream}`,
  maxConcurrentRequests: slots,
  rateLimit: { requestsPerMinute: unreachable, requestsPerHour: unreachable },
  gateway: { port: 0, apiKeyFile },
});
const provider = new LlamaCppProvider(config);
await provider.start();
const gateway = createGateway({ provider, config });
const { port } = await gateway.listen();
announcePort(port);
process.once('SIGTERM', () => {
  void gateway
    .stop()
    .then(() => provider.stop())
    .then(() => process.exit());
});
