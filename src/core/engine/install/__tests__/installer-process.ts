import { installEngine, type InstallEngineOptions } from '../install-engine.ts';

/**
 * A process of its own that installs, for tests of two at once and of sudden death: tells the test its progress and how it
 * ended. The options come as JSON in the first argument, the environment is the process's own.
 */
const tell = (type: string, value: unknown) => process.send?.({ type, value });
try {
  const options = JSON.parse(process.argv[2] ?? '{}') as Pick<InstallEngineOptions, 'from' | 'timeouts' | 'source'>;
  const engine = await installEngine({
    ...options,
    env: process.env,
    onProgress: ({ step, message }) => tell(step, message),
  });
  tell('engine', engine);
} catch (error) {
  tell('error', String(error));
}
process.disconnect();
