/** What the double of llama-server can be told to do wrong. Every fault is off by default; they can be combined. */
export interface FakeServerFaults {
  /** Faults hold only for the first so many starts of the same double; later starts behave. Default: all starts. */
  firstStarts?: number;
  /** Faults of requests (all from `refuse` on) hold only for the first so many requests that generate. Default: all. */
  firstRequests?: number;
  /** Faults of requests hold only for prompts that contain this text. Default: all. */
  promptsWith?: string;

  /** Ends at start-up with the log lines, and the exit code or signal, of the real server in that situation. */
  startFailure?:
    | 'model_missing'
    | 'model_not_gguf'
    | 'model_unknown_architecture'
    | 'model_truncated'
    | 'out_of_memory'
    | 'wrong_option'
    | 'port_taken'
    | 'assertion';
  /** Loads for so long before it is ready, in ms; `/health` and all else answer 503 meanwhile, as the real one does. */
  loadMs?: number;
  /** Tells the progress of `loadMs` or `neverReady` by a log line each 50 ms. Default true; false is silent. */
  loadProgress?: boolean;
  /** Never leaves the loading state. */
  neverReady?: boolean;
  /** Listens only after so many ms. */
  listenAfterMs?: number;
  /** Ends so many ms after it became ready (or began to load, with `neverReady`). */
  endAfterMs?: { ms: number } & FakeServerEnd;
  /** SIGTERM does nothing. */
  ignoreSigterm?: boolean;
  /** Writes so many bytes of log lines once it is ready. */
  logFloodBytes?: number;
  /** The log flood is one line without an end. */
  logFloodOneLine?: boolean;
  /** Every connection is answered with bytes that are not HTTP. */
  garbageHttp?: boolean;
  /** `/health` never answers while a request hangs (see `after`). Default false: it answers 200. */
  hangHealth?: boolean;
  /** `/slots` never answers while a request hangs. */
  hangSlots?: boolean;
  /** The process works on while a request hangs, without getting anywhere. */
  hangBusy?: boolean;
  /** Memory taken and never given back, in bytes per generating request. */
  leakBytesPerRequest?: number;

  /** Answers generating requests with this status and an error body instead of working on them. */
  refuse?: { status: number; retryAfterSeconds?: number };
  /** Sends the response headers only after so many ms. */
  slowHeadersMs?: number;
  /** Non-streaming answers are cut in the middle of the JSON, with a length that fits. */
  malformedJson?: boolean;
  /** What happens after so many tokens of a request, streaming or not. */
  after?: { tokens: number } & StreamFault;
}

/** How the process ends itself: with an exit code (default 1) or by a signal to itself, SIGSTOP included. */
export interface FakeServerEnd {
  exitCode?: number;
  signal?: NodeJS.Signals;
}

/** A fault in the middle of an answer. */
export type StreamFault =
  /** No further token; the connection stays open and the process lives. */
  | { fault: 'hang' }
  /** The process ends. */
  | ({ fault: 'end-process' } & FakeServerEnd)
  /** The answer ends as HTTP wants it, without its last frames. */
  | { fault: 'end' }
  /** The connection is destroyed between two frames. */
  | { fault: 'destroy' }
  /** Half a frame, then the answer ends properly, or the connection is destroyed. */
  | { fault: 'cut-frame'; destroy?: boolean }
  /** The first bytes of a UTF-8 character, then the answer ends properly, or the connection is destroyed. */
  | { fault: 'cut-character'; destroy?: boolean }
  /** A frame whose data are not JSON, then the answer goes on. */
  | { fault: 'malformed-frame' }
  /** Random bytes instead of frames, then the answer ends. */
  | { fault: 'garbage' };

/** How the double behaves when nothing goes wrong. */
export interface FakeServerSettings {
  faults: FakeServerFaults;
  /** Speed of generation per slot; 0 is as fast as it can. Default 0. */
  tokensPerSecond: number;
  /** Time to read any prompt, in ms. Default 0. */
  prefillMs: number;
  /**
   * Batches in which a prompt is read: each moves the counters of `/slots`, and sends an event where the request has `return_progress`.
   * Default 1.
   */
  prefillSteps: number;
  /** How often an open stream gets a comment line, in ms, whatever else happens; llama-server's own is 30000, the default. */
  pingMs: number;
  /** Tokens of an answer when the request sets no limit; such an answer ends with `stop`. Default 32. */
  replyTokens: number;
  /** The texts that are generated, over and over; default: ` 1`, ` 2`, ` 3`, … (each fourth with an emoji), without end. */
  tokens: readonly string[] | null;
  /** Directory for the counters and the number of starts. */
  stateDirectory: string;
}

/** What a double has seen; kept in a file, so that it can be read when the process hangs or is gone. */
export interface FakeServerCounters {
  /** Process starts with these settings. */
  starts: number;
  /** HTTP requests of this process, by path. */
  requests: Record<string, number>;
  /** Generating requests that this process took on, finished, and lost because the client went away. */
  started: number;
  finished: number;
  aborted: number;
  /** Generated tokens of this process. */
  tokens: number;
  /** Generating requests that hold a slot or wait for one. */
  active: number;
  waiting: number;
}

/** Counters before anything happened. */
export function emptyCounters(): FakeServerCounters {
  return { starts: 0, requests: {}, started: 0, finished: 0, aborted: 0, tokens: 0, active: 0, waiting: 0 };
}

/** The faults that hold at the given start (counted from 1). */
export function faultsOfStart(faults: FakeServerFaults, start: number): FakeServerFaults {
  return start > (faults.firstStarts ?? Number.POSITIVE_INFINITY) ? {} : faults;
}

/** The faults that hold for the given generating request of a process (counted from 1), of that prompt. */
export function faultsOfRequest(faults: FakeServerFaults, request: number, prompt: string): FakeServerFaults {
  const concerned = request <= (faults.firstRequests ?? Number.POSITIVE_INFINITY);
  return concerned && prompt.includes(faults.promptsWith ?? '') ? faults : {};
}
