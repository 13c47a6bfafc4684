/** The options of llama-server that the double understands. */
export interface FakeServerArguments {
  readonly version: boolean;
  readonly model: string;
  readonly alias: string;
  /** An address, or the path of a UNIX socket if it ends in `.sock`. */
  readonly host: string;
  readonly port: number;
  readonly slots: number;
  /** Context length of one slot. */
  readonly contextLength: number;
  readonly embeddings: boolean;
  readonly reranking: boolean;
  /** File with the double's own settings. */
  readonly settings: string | null;
}

const DEFAULT_CONTEXT_LENGTH = 8192;
const DEFAULT_SLOTS = 4;

/**
 * Reads a llama-server command line. Options that the double has no use for are skipped with their values, so it can stand
 * in for the real program whatever it is called with. As there, `-c` is divided among the slots when `-np` is given.
 */
export function parseFakeServerArguments(argv: readonly string[]): FakeServerArguments {
  const values = new Map<string, string>();
  for (let index = 0; index < argv.length; index += 1) {
    const name = argv[index]!;
    const next = argv[index + 1];
    if (next !== undefined && !/^--?[a-z]/i.test(next)) {
      values.set(name, next);
      index += 1;
    } else {
      values.set(name, '');
    }
  }
  const text = (...names: string[]): string | undefined =>
    names.map((name) => values.get(name)).find((value) => value !== undefined);
  const positive = (...names: string[]): number | undefined => {
    const value = Number(text(...names));
    return Number.isInteger(value) && value > 0 ? value : undefined;
  };
  const model = text('-m', '--model') ?? 'fake.gguf';
  const parallel = positive('-np', '--parallel');
  const context = positive('-c', '--ctx-size') ?? DEFAULT_CONTEXT_LENGTH;
  const reranking = values.has('--reranking') || values.has('--rerank');
  return {
    version: values.has('--version'),
    model,
    alias: text('-a', '--alias') ?? model.replace(/^.*[\\/]/, ''),
    host: text('--host') ?? '127.0.0.1',
    port: Number(text('--port') ?? 8080),
    slots: parallel ?? DEFAULT_SLOTS,
    contextLength: parallel === undefined ? context : Math.floor(context / parallel),
    embeddings: reranking || values.has('--embeddings') || values.has('--embedding'),
    reranking,
    settings: text('--fake-settings') ?? null,
  };
}
