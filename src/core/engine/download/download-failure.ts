import { LlameroError } from '../../errors.ts';

/** Attempts in a row without a single new byte, before a download is given up. */
const MOST_FUTILE_ATTEMPTS = 6;
/** The same before anything at all has come: an address that cannot be reached is told within seconds. */
const MOST_FIRST_ATTEMPTS = 3;
const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 10_000;

/**
 * How long to wait before attempt number `futileAttempts + 1`, in ms; null to give up. Pure.
 * `futileAttempts` counts attempts in a row that brought no new byte; `started` says whether any byte has come at all.
 */
export function retryDelayMs(
  futileAttempts: number,
  started: boolean,
  most = started ? MOST_FUTILE_ATTEMPTS : MOST_FIRST_ATTEMPTS,
): number | null {
  if (futileAttempts >= most) return null;
  return Math.min(FIRST_DELAY_MS * 2 ** Math.max(0, futileAttempts - 1), LONGEST_DELAY_MS);
}

/** Whether the same request may work a little later. */
export function isPassingStatus(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** What an answer without a file means to the user: `what` names the thing that was asked for. */
export function statusError(status: number, what: string, hub = false): LlameroError {
  const token = hub
    ? 'If it is private or gated, accept its conditions on its page and set HF_TOKEN to a token that may read it.'
    : 'The server wants a login; llamero can only download what is public there.';
  switch (status) {
    case 401:
    case 403: {
      // Hugging Face answers 401 for repositories that do not exist, too.
      const name = hub ? ' Check the name.' : '';
      return new LlameroError('model_not_found', `Access to ${what} was refused (${status}).${name} ${token}`);
    }
    case 404:
    case 410:
      return new LlameroError(
        'model_not_found',
        `There is no ${what} (${status}). Check the name.${hub ? ` ${token}` : ''}`,
      );
    default:
      return new LlameroError('install_failed', `${what} could not be downloaded: the server answered ${status}.`);
  }
}

/** What broke a download or a lookup, in words, from the error of undici or of the file system. */
export function transferError(
  error: unknown,
  what: string,
  verb: 'downloaded' | 'looked up' = 'downloaded',
): LlameroError {
  if (error instanceof LlameroError) return error;
  const code = codeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new LlameroError('install_failed', `The disk is full: ${what} could not be stored.`, { cause: error });
  }
  const remedy =
    verb === 'downloaded' ? 'What has come is kept: run it again to continue.' : 'Check the network, and try again.';
  return new LlameroError('install_failed', `${what} could not be ${verb} (${reasonOf(error, code)}). ${remedy}`, {
    cause: error,
  });
}

/** Whether the error is about this machine's disk, which no retry mends. */
export function isLocalFailure(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'EMFILE', 'ENOENT'].includes(codeOf(error) ?? '');
}

function reasonOf(error: unknown, code: string | undefined): string {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the name of the server is not known: no network?';
    case 'ECONNREFUSED':
      return 'the server refuses connections';
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return 'the server cannot be reached';
    default:
      return code ?? (error instanceof Error ? error.message : String(error));
  }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : codeOf(error.cause);
}
