/** No well-known value of `gen_ai.provider.name` stands for llama.cpp. */
export const GEN_AI_PROVIDER = 'llama_cpp';

/**
 * `gen_ai.operation.name` by route, of metrics and spans alike; routes that ask nothing of the model have none. `rerank` is not among
 * the well-known values. https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
 */
export const GEN_AI_OPERATIONS: Readonly<Record<string, string>> = {
  'chat.completions': 'chat',
  responses: 'chat',
  messages: 'chat',
  completions: 'text_completion',
  completion: 'text_completion',
  infill: 'text_completion',
  embeddings: 'embeddings',
  embedding: 'embeddings',
  rerank: 'rerank',
};
