/** The bytes that the upstream answers with, in the shape and size of llama-server's own. */

const IDENTITY = '"created":1763912345,"id":"chatcmpl-n2vYc1hPqVb3kJtL0wXzR8sFgUe5","model":"bench"';
const NO_USAGE = '"system_fingerprint":"b6900-de3ff81"';
const TIMINGS =
  '"timings":{"cache_n":0,"prompt_n":12,"prompt_ms":9.5,"prompt_per_token_ms":0.79,"prompt_per_second":1263.1,"predicted_n":64,"predicted_ms":640.2,"predicted_per_token_ms":10.0,"predicted_per_second":99.9}';
const WHOLE_ANSWER_BYTES = 1024;

/** `GET /props`: as much of it as llamero reads. */
export function properties(slots: number): string {
  return JSON.stringify({
    default_generation_settings: { n_ctx: 4096 },
    total_slots: slots,
    model_alias: 'bench',
    model_path: 'bench.gguf',
    chat_template: '{{ messages }}',
    build_info: 'b6900-de3ff81',
  });
}

/** `GET /v1/models`. */
export const MODELS = '{"object":"list","data":[{"id":"bench","object":"model","owned_by":"llamacpp"}]}';

/** A chat answer that is no stream, padded to 1 KB. */
export const WHOLE_ANSWER = wholeAnswer();

/** One server-sent event with one token: about 220 bytes, as llama-server's. */
export const TOKEN_EVENT = `data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" token"}}],${IDENTITY},${NO_USAGE},"object":"chat.completion.chunk"}\n\n`;

/** The last events of a stream. */
export const LAST_EVENTS = [
  `data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],${IDENTITY},${NO_USAGE},"object":"chat.completion.chunk",${TIMINGS}}\n\n`,
  'data: [DONE]\n\n',
];

function wholeAnswer(): string {
  return answerOf('word '.repeat(WHOLE_ANSWER_BYTES).slice(0, WHOLE_ANSWER_BYTES - answerOf('').length));
}

function answerOf(text: string): string {
  return `{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"${text}"}}],${IDENTITY},${NO_USAGE},"object":"chat.completion","usage":{"completion_tokens":64,"prompt_tokens":12,"total_tokens":76},${TIMINGS}}`;
}
