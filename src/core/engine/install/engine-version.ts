import { MINIMUM_BUILD, MINIMUM_VERSION } from './pinned-engine.ts';

/** What a llama-server says about itself. */
export interface EngineVersion {
  /** Semantic version such as `0.5.0-dev`; `b4567` for builds from before llama.cpp had versions; `unknown` if the build does not know. */
  version: string;
  /** llama.cpp's build number (its count of commits); null if unknown. A build from a squashed source says 1. */
  build: number | null;
  commit: string | null;
}

/**
 * Reads the output of `llama-server --version`, log lines around it ignored. Forms, with the newest first:
 * `version: 0.5.0-dev (build 1, commit de3ff81)`, `version: 4567 (abcdef0)`, `version: 0 (unknown)`.
 * Null when no such line is there: not a llama-server.
 */
export function parseEngineVersion(output: string): EngineVersion | null {
  const semantic = /^version:\s+v?(\d+\.\d+\.\d+[\w.+-]*)\s*(?:\(build\s+(\d+),\s*commit\s+([\w-]+)\))?/m.exec(output);
  if (semantic?.[1] !== undefined) {
    return { version: semantic[1], build: buildNumber(semantic[2]), commit: commitHash(semantic[3]) };
  }
  const numbered = /^version:\s+(\d+)\s+\(([\w-]+)\)/m.exec(output);
  if (numbered === null) return null;
  const build = buildNumber(numbered[1]);
  return { version: build === null ? 'unknown' : `b${build}`, build, commit: commitHash(numbered[2]) };
}

/**
 * Why llamero cannot drive this version, as a sentence part with the number and the minimum; null when it can.
 * An unknown version passes: a build without its number is common in distribution packages and may well be new.
 */
export function tooOldReason({ version, build }: EngineVersion): string | null {
  const minimum = `llamero needs ${MINIMUM_VERSION} or build b${MINIMUM_BUILD} at least`;
  const semantic = /^(\d+)\.(\d+)\.(\d+)/.exec(version);
  if (semantic !== null) {
    return compareVersions(version, MINIMUM_VERSION) < 0 ? `version ${version} is too old: ${minimum}` : null;
  }
  return build !== null && build < MINIMUM_BUILD ? `version b${build} is too old: ${minimum}` : null;
}

/** A short name of a version for people: `0.5.0-dev (b1, de3ff81)`. */
export function describeVersion({ version, build, commit }: EngineVersion): string {
  const details = [build !== null && version !== `b${build}` ? `b${build}` : null, commit].filter(
    (part) => part !== null,
  );
  return details.length === 0 ? version : `${version} (${details.join(', ')})`;
}

function compareVersions(left: string, right: string): number {
  const [a, b] = [numbersOf(left), numbersOf(right)];
  for (let index = 0; index < 3; index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbersOf(version: string): number[] {
  return version.split(/[.+-]/).slice(0, 3).map(Number);
}

function buildNumber(text: string | undefined): number | null {
  const value = Number(text);
  return Number.isInteger(value) && value > 0 ? value : null;
}

function commitHash(text: string | undefined): string | null {
  return text === undefined || text === 'unknown' ? null : text;
}
