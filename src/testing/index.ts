export { writeTinyModel } from './write-tiny-model.ts';
export type { TinyModelFacts, TinyModelOptions } from './write-tiny-model.ts';
