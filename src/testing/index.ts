export { writeTinyModel } from './write-tiny-model.ts';
export type { TinyModelFacts, TinyModelOptions } from './write-tiny-model.ts';
export { startFakeLlamaServer, writeFakeLlamaServerCommand } from './fake-llama-server.ts';
export type {
  FakeLlamaServer,
  FakeLlamaServerBehaviour,
  FakeLlamaServerCommand,
  FakeLlamaServerOptions,
  FakeServerExit,
} from './fake-llama-server.ts';
export type { FakeServerCounters, FakeServerFaults } from './fake/settings.ts';
export { measureLeak } from './measure-leak.ts';
export type { LeakReport, MeasureLeakOptions } from './measure-leak.ts';
