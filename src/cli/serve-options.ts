/**
 * The options of `llamero serve`: one table from which flags, environment variables, help and the merging of sources
 * are made.
 */

/** One option: where it may be written, and which key of the configuration it sets. */
export interface ServeOption {
  /** Name on the command line without dashes; `null` for the positional argument. */
  readonly flag: string | null;
  /** Placeholder of the value in the help. */
  readonly placeholder: string;
  readonly environment: string;
  /** Path of the configuration key. */
  readonly key: string;
  /** How a text from outside becomes a value; what is no number stays a text, which the schema then refuses by name. */
  readonly kind: 'text' | 'number';
  readonly description: string;
}

/** Every option that sets a configuration key. `--config` names a file and is therefore not among them. */
export const SERVE_OPTIONS: readonly ServeOption[] = [
  {
    flag: null,
    placeholder: 'MODEL',
    environment: 'LLAMERO_MODEL',
    key: 'model',
    kind: 'text',
    description: 'GGUF file, https address or Hugging Face name user/repo[:quant]',
  },
  flag('host', 'ADDRESS', 'gateway.host', 'text', 'address to listen on (default 127.0.0.1)'),
  flag('port', 'PORT', 'gateway.port', 'number', 'port to listen on, or auto for any free one (default 8080)'),
  flag('parallel', 'N', 'engine.parallel', 'number', 'slots: requests that are decoded at once (default 4)'),
  flag('ctx-size', 'N', 'engine.ctxSize', 'number', 'context length of one slot, in tokens (default 4096)'),
  flag('engine-url', 'URL', 'engineUrl', 'text', 'attach to a llama-server that someone else runs'),
  flag('api-key-file', 'FILE', 'gateway.apiKeyFile', 'text', 'file of API keys, written by `llamero keys add`'),
  flag('log-level', 'LEVEL', 'log.level', 'text', 'trace, debug, info, warn, error or silent (default info)'),
  flag('log-format', 'FORMAT', 'log.format', 'text', 'pretty, json, or auto: pretty on a terminal (default auto)'),
];

/** The value that a text from a flag or a variable stands for. */
export function readOptionValue(option: ServeOption, text: string): string | number {
  if (option.kind === 'text') return text;
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function flag(
  name: string,
  placeholder: string,
  key: string,
  kind: ServeOption['kind'],
  description: string,
): ServeOption {
  return {
    flag: name,
    placeholder,
    environment: `LLAMERO_${name.toUpperCase().replaceAll('-', '_')}`,
    key,
    kind,
    description,
  };
}
