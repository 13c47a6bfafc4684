import { readFile } from 'node:fs/promises';
import { LlameroError } from '../../errors.ts';
import { findOnPath } from './find-on-path.ts';

/** What a source build needs beyond Node. */
export type BuildTool = 'git' | 'cmake' | 'compiler' | 'make';
/** The package managers whose commands llamero knows. */
export type PackageManager = 'apt-get' | 'dnf' | 'pacman' | 'apk' | 'zypper' | 'brew' | 'winget';

const TOOL_NAMES: Record<BuildTool, string> = {
  git: 'git',
  cmake: 'CMake',
  compiler: 'a C++ compiler',
  make: 'make or ninja',
};

/** Package names per tool; each list is in the order of {@link INSTALL_COMMANDS}. */
const PACKAGES: Record<PackageManager, Record<BuildTool, string>> = {
  'apt-get': { git: 'git', cmake: 'cmake', compiler: 'g++', make: 'make' },
  dnf: { git: 'git', cmake: 'cmake', compiler: 'gcc-c++', make: 'make' },
  pacman: { git: 'git', cmake: 'cmake', compiler: 'gcc', make: 'make' },
  apk: { git: 'git', cmake: 'cmake', compiler: 'g++', make: 'make' },
  zypper: { git: 'git', cmake: 'cmake', compiler: 'gcc-c++', make: 'make' },
  brew: { git: 'git', cmake: 'cmake', compiler: 'gcc', make: 'make' },
  winget: { git: 'Git.Git', cmake: 'Kitware.CMake', compiler: 'Microsoft.VisualStudio.2022.BuildTools', make: '' },
};

const INSTALL_COMMANDS: Record<PackageManager, (packages: string[]) => string> = {
  'apt-get': (packages) => `sudo apt-get install -y ${packages.join(' ')}`,
  dnf: (packages) => `sudo dnf install -y ${packages.join(' ')}`,
  pacman: (packages) => `sudo pacman -S --needed ${packages.join(' ')}`,
  apk: (packages) => `sudo apk add ${packages.join(' ')}`,
  zypper: (packages) => `sudo zypper install -y ${packages.join(' ')}`,
  brew: (packages) => `brew install ${packages.join(' ')}`,
  winget: (packages) =>
    packages
      .map((name) =>
        name === PACKAGES.winget.compiler
          ? `winget install ${name} --override "--wait --passive --add Microsoft.VisualStudio.Workload.VCTools --includeRecommended"`
          : `winget install ${name}`,
      )
      .join(' && '),
};

/**
 * Names what is missing and the command that installs it.
 * @param manager the machine's package manager; null when it is not known, then only the names are given.
 */
export function describeMissingTools(
  missing: readonly BuildTool[],
  manager: PackageManager | null,
  platform: NodeJS.Platform = process.platform,
): string {
  const names = missing.map((tool) => TOOL_NAMES[tool]).join(', ');
  const opening = `Building llama-server from source needs ${names}, not found on this machine.`;
  if (platform === 'darwin') {
    // Apple's command line tools bring git, make and the compiler; only CMake comes from elsewhere.
    const commands = [
      missing.some((tool) => tool !== 'cmake') ? 'xcode-select --install' : null,
      missing.includes('cmake') ? 'brew install cmake' : null,
    ].filter((command) => command !== null);
    return `${opening} Install with: ${commands.join(' && ')}`;
  }
  if (manager === null) return `${opening} Install it with the package manager of your system.`;
  const packages = missing.map((tool) => PACKAGES[manager][tool]).filter((name) => name !== '');
  return `${opening} Install with: ${INSTALL_COMMANDS[manager](packages)}`;
}

/** The package manager of a Linux distribution, from its /etc/os-release. */
export function packageManagerOf(osRelease: string): PackageManager | null {
  const ids = [/^ID=(.*)$/m.exec(osRelease)?.[1], /^ID_LIKE=(.*)$/m.exec(osRelease)?.[1]]
    .join(' ')
    .replaceAll('"', '')
    .split(/\s+/);
  const has = (...names: string[]) => names.some((name) => ids.includes(name));
  if (has('debian', 'ubuntu')) return 'apt-get';
  if (has('alpine')) return 'apk';
  if (has('arch')) return 'pacman';
  if (has('fedora', 'rhel', 'centos')) return 'dnf';
  if (has('suse', 'opensuse', 'opensuse-leap', 'opensuse-tumbleweed')) return 'zypper';
  return null;
}

/** The CMake generator arguments that suit the machine: Ninja where it is present (it keeps all cores busy), else CMake's default. */
export async function generatorArguments(env: NodeJS.ProcessEnv): Promise<string[]> {
  if (env['CMAKE_GENERATOR'] || process.platform === 'win32') return [];
  return (await findOnPath('ninja', env)) === null ? [] : ['-G', 'Ninja'];
}

/**
 * Checks that git, CMake, a C++ compiler and make or ninja are there.
 * @throws LlameroError `install_failed` naming every missing one and the command that installs them.
 */
export async function requireBuildTools(env: NodeJS.ProcessEnv): Promise<void> {
  const has = async (...names: string[]) => {
    const found = await Promise.all(names.map((name) => findOnPath(name, env)));
    return found.some((file) => file !== null);
  };
  const missing: BuildTool[] = [];
  if (!(await has('git'))) missing.push('git');
  if (!(await has('cmake'))) missing.push('cmake');
  // On Windows CMake finds Visual Studio by itself, which is not on PATH.
  if (process.platform !== 'win32') {
    if (!env['CXX'] && !(await has('c++', 'g++', 'clang++'))) missing.push('compiler');
    if (!env['CMAKE_GENERATOR'] && !(await has('make', 'gmake', 'ninja'))) missing.push('make');
  }
  if (missing.length > 0) throw missingTools(missing, await packageManager());
}

/** Whether CMake's output says that there is no compiler: what {@link requireBuildTools} cannot see on Windows and macOS. */
export function saysNoCompiler(output: readonly string[]): boolean {
  return output.some((line) =>
    /No CMAKE_(C|CXX)_COMPILER could be found|could not find any instance of Visual Studio|no developer tools were found/i.test(
      line,
    ),
  );
}

/** The error for missing tools. */
export function missingTools(missing: readonly BuildTool[], manager: PackageManager | null): LlameroError {
  return new LlameroError('install_failed', describeMissingTools(missing, manager), { details: { missing } });
}

/** The machine's package manager; null when unknown. */
export async function packageManager(): Promise<PackageManager | null> {
  if (process.platform === 'win32') return 'winget';
  if (process.platform === 'darwin') return 'brew';
  try {
    return packageManagerOf(await readFile('/etc/os-release', 'utf8'));
  } catch {
    // A system without os-release: the tools are named without a command.
    return null;
  }
}
