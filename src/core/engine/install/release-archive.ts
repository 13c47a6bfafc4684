import type { Accelerator, AcceleratorSupport } from './accelerator.ts';

/** The machine that an archive is chosen for. */
export interface ReleaseTarget {
  platform: NodeJS.Platform;
  arch: string;
  /** `musl` (Alpine) cannot run the archives, which are linked against glibc. */
  libc: 'glibc' | 'musl' | null;
  accelerators: AcceleratorSupport;
}

/** The archives to unpack into one directory, the program's own first. */
export interface ReleaseArchives {
  names: string[];
  accelerator: Accelerator;
}

/**
 * Chooses the official archives for a machine by their names, as llama.cpp's release workflow makes them:
 * `llama-<tag>-bin-ubuntu-[<accelerator>[-<version>]-]<arch>.tar.gz`, `…-bin-macos-<arch>.tar.gz`,
 * `…-bin-win-(cpu|<accelerator>[-<version>])-<arch>.zip`. CUDA's runtime libraries are an archive of their own
 * (`cudart-llama-…`) and are taken along. Of several versions the newest is taken that the driver runs.
 * @returns null when there is no archive for the machine.
 */
export function chooseArchives(available: readonly string[], target: ReleaseTarget): ReleaseArchives | null {
  if (target.libc === 'musl') return null;
  for (const accelerator of target.accelerators.preferred) {
    const name = newest(
      available.filter((candidate) => matches(candidate, accelerator, target)),
      majorLimit(accelerator, target.accelerators),
    );
    if (name === undefined) continue;
    const runtime = accelerator === 'cuda' ? cudaRuntime(available, name) : [];
    return { names: [name, ...runtime], accelerator };
  }
  return null;
}

/** A name for directories: `ubuntu-cuda-12.8-x64` of `llama-b1-bin-ubuntu-cuda-12.8-x64.tar.gz`. */
export function archiveVariant(name: string): string {
  return name.replace(/^.*?-bin-/, '').replace(/\.(tar\.gz|zip)$/, '');
}

function matches(name: string, accelerator: Accelerator, { platform, arch }: ReleaseTarget): boolean {
  const middle = MIDDLE[accelerator](platform);
  const system = { linux: 'ubuntu', darwin: 'macos', win32: 'win' }[platform as string];
  if (middle === null || system === undefined) return false;
  const extension = platform === 'win32' ? 'zip' : 'tar\\.gz';
  return new RegExp(`^llama-[\\w.-]+?-bin-${system}-${middle}${arch}\\.${extension}$`).test(name);
}

/** The part of the name between system and architecture. */
const MIDDLE: Record<Accelerator, (platform: NodeJS.Platform) => string | null> = {
  cuda: () => 'cuda-\\d+\\.\\d+-',
  rocm: () => 'rocm-\\d+\\.\\d+-',
  vulkan: () => 'vulkan-',
  metal: (platform) => (platform === 'darwin' ? '' : null),
  cpu: (platform) => (platform === 'win32' ? 'cpu-' : ''),
};

function majorLimit(
  accelerator: Accelerator,
  { cudaMajor, rocmMajor }: AcceleratorSupport,
): (major: number) => boolean {
  if (accelerator === 'cuda') return (major) => cudaMajor === null || major <= cudaMajor;
  // ROCm's libraries come from the machine and their major version has to be the same.
  if (accelerator === 'rocm') return (major) => rocmMajor === null || major === rocmMajor;
  return () => true;
}

function newest(names: readonly string[], fits: (major: number) => boolean): string | undefined {
  return names
    .filter((name) => fits(versionInName(name).major))
    .toSorted((a, b) => {
      const [left, right] = [versionInName(a), versionInName(b)];
      return right.major - left.major || right.minor - left.minor;
    })[0];
}

function versionInName(name: string): { major: number; minor: number } {
  const match = /-(\d+)\.(\d+)-[^-]+$/.exec(name);
  return { major: Number(match?.[1] ?? 0), minor: Number(match?.[2] ?? 0) };
}

function cudaRuntime(available: readonly string[], archive: string): string[] {
  const variant = archiveVariant(archive);
  const runtime = available.find((name) => name.startsWith('cudart-') && archiveVariant(name) === variant);
  return runtime === undefined ? [] : [runtime];
}
