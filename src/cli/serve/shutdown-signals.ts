/** Waits for the signals that end a server. */
export interface ShutdownSignals extends Disposable {
  /** Resolves with the name of the first signal. */
  readonly first: Promise<NodeJS.Signals>;
  /** Whether one has come. */
  readonly received: boolean;
  /** Does what that signal would do. */
  end(name: NodeJS.Signals): void;
}

/**
 * The first SIGINT or SIGTERM asks for an orderly end; a second one ends the process at once, with exit code 1. The
 * engine's guard sees to it that no llama-server is left then.
 */
export function listenForShutdown(): ShutdownSignals {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let received = false;
  const onSignal = (name: NodeJS.Signals) => {
    if (received) process.exit(1);
    received = true;
    resolve(name);
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return {
    first: promise,
    get received() {
      return received;
    },
    end: onSignal,
    [Symbol.dispose]() {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    },
  };
}
