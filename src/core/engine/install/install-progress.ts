/** What an installation is doing. `wait`: another process holds the installation lock. `note`: something worth telling, no work. */
export type InstallStep =
  | 'note'
  | 'wait'
  | 'download'
  | 'verify'
  | 'unpack'
  | 'fetch'
  | 'clone'
  | 'configure'
  | 'build';

/** One report of progress. */
export interface InstallProgress {
  step: InstallStep;
  /** Done part of this step, 0 to 1; null where it cannot be told. */
  fraction: number | null;
  /** One line for people. */
  message: string;
}

/** Receives progress; called often, so it must be quick. */
export type OnInstallProgress = (progress: InstallProgress) => void;
