import type { FakeServerArguments } from './arguments.ts';
import type { FakeServerFaults } from './settings.ts';

/** One line of a log: its level and text, or a bare line. */
export type LogLine = readonly ['I' | 'W' | 'E' | 'raw', string];

/** What the real server (v0.5.0) writes and how it ends when a start fails. */
export interface StartFailure {
  readonly lines: readonly LogLine[];
  readonly exitCode?: number;
  readonly signal?: NodeJS.Signals;
}

/** The last words of a failed start, recorded from the real server and filled in with the arguments of this one. */
export function startFailure(
  name: NonNullable<FakeServerFaults['startFailure']>,
  { model, host, port }: FakeServerArguments,
): StartFailure {
  switch (name) {
    case 'model_missing':
      return loadFailure(model, [
        `gguf_init_from_file: failed to open GGUF file '${model}' (No such file or directory)`,
        `llama_model_load: error loading model: llama_model_loader: failed to load model from ${model}`,
      ]);
    case 'model_not_gguf':
      return loadFailure(model, [
        "gguf_init_from_reader: invalid magic characters: '????', expected 'GGUF'",
        `llama_model_load: error loading model: llama_model_loader: failed to load model from ${model}`,
      ]);
    case 'model_unknown_architecture':
      return loadFailure(model, ["llama_model_load: error loading model: unknown model architecture: 'lxama'"]);
    case 'model_truncated':
      return loadFailure(model, [
        "llama_model_load: error loading model: tensor 'blk.0.attn_output.weight' data is not within the file bounds, model is corrupted or incomplete",
      ]);
    case 'out_of_memory':
      return { lines: outOfMemory(model), exitCode: 1 };
    case 'wrong_option':
      return { lines: [['raw', 'error: invalid argument: --wrong-option']], exitCode: 1 };
    case 'port_taken':
      return {
        lines: [
          ['E', `srv         start: couldn't bind HTTP server socket, hostname: ${host}, port: ${port}`],
          ...ending('exiting due to HTTP server error'),
        ],
        exitCode: 1,
      };
    default:
      return {
        lines: [
          ['I', `srv    load_model: loading model '${model}'`],
          ['raw', '/src/ggml/src/ggml.c:3259: GGML_ASSERT(ggml_can_mul_mat(a, b)) failed'],
          ['raw', 'WARNING: Using native backtrace. Set GGML_BACKTRACE_LLDB for more info.'],
        ],
        signal: 'SIGABRT',
      };
  }
}

function loadFailure(model: string, causes: readonly string[]): StartFailure {
  const attempt: LogLine[] = [...causes, 'llama_model_load_from_file_impl: failed to load model'].map((text) => [
    'E',
    text,
  ]);
  return {
    lines: [
      ['I', `srv    load_model: loading model '${model}'`],
      ...attempt,
      [
        'E',
        'common_fit_params: encountered an error while trying to fit params to free device memory: failed to load model',
      ],
      ...attempt,
      ['E', `cmn  common_init_: failed to load model '${model}'`],
      ['E', `srv    load_model: failed to load model, '${model}'`],
      ...ending('exiting due to model loading error'),
    ],
    exitCode: 1,
  };
}

function outOfMemory(model: string): LogLine[] {
  return [
    ['I', `srv    load_model: loading model '${model}'`],
    ['E', 'ggml_aligned_malloc: insufficient memory (attempted to allocate 3906.25 MB)'],
    ['E', 'ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 4096000000'],
    ['E', 'alloc_tensor_range: failed to allocate CPU buffer of size 4096000000'],
    ['E', 'llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache'],
    ['E', `cmn  common_init_: failed to create context with model '${model}'`],
    ['E', `srv    load_model: failed to create_context with model '${model}'`],
    ...ending('exiting due to model loading error'),
  ];
}

function ending(cause: string): LogLine[] {
  return [
    ['I', 'srv    operator(): operator(): cleaning up before exit...'],
    ['E', `srv  llama_server: ${cause}`],
  ];
}
