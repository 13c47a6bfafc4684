import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseBuildLine } from '../build-progress.ts';
import { cacheDirectory } from '../cache-directory.ts';
import { buildJobs, extraCmakeArguments } from '../cmake-build.ts';
import { cpuKey, parseInstructionSets, runsOn, type Cpu } from '../cpu.ts';
import { parseNpmrc } from '../npm-configuration.ts';
import { describeMissingTools, packageManagerOf, saysNoCompiler } from '../toolchain.ts';

describe('parseBuildLine', () => {
  const cases: [string, number | null][] = [
    ['[ 58%] Building CXX object tools/mtmd/CMakeFiles/mtmd.dir/models/glm4v.cpp.o', 0.58],
    ['[100%] Built target llama-server', 1],
    ['[  0%] Building CXX object vendor/hash/CMakeFiles/vendor-hash.dir/hash.cpp.o', 0],
    ['[12/345] Building CXX object src/CMakeFiles/llama.dir/llama.cpp.o', 12 / 345],
    ['[345/345] Linking CXX executable bin/llama-server', 1],
    ['[0/0] nothing', null],
    ['/src/ggml.c:12: warning: [-Wunused] 58%', null],
    ['-- Configuring done', null],
  ];
  for (const [line, fraction] of cases) {
    it(line, () => assert.equal(parseBuildLine(line)?.fraction ?? null, fraction));
  }
  it('names the file', () => {
    assert.equal(
      parseBuildLine('[1/2] Building CXX object a/CMakeFiles/x.dir/models/chat.cpp.o')?.what,
      'models/chat.cpp',
    );
  });
});

describe('cacheDirectory', () => {
  const cases: [string, NodeJS.ProcessEnv, NodeJS.Platform, string][] = [
    ['LLAMERO_CACHE_DIR wins', { LLAMERO_CACHE_DIR: '/c', XDG_CACHE_HOME: '/x', HOME: '/h' }, 'linux', '/c'],
    ['XDG_CACHE_HOME', { XDG_CACHE_HOME: '/x', HOME: '/h' }, 'linux', '/x/llamero'],
    ['a relative XDG_CACHE_HOME is ignored', { XDG_CACHE_HOME: 'x', HOME: '/h' }, 'linux', '/h/.cache/llamero'],
    ['Linux', { HOME: '/h' }, 'linux', '/h/.cache/llamero'],
    ['macOS', { HOME: '/h' }, 'darwin', '/h/Library/Caches/llamero'],
    ['Windows', { LOCALAPPDATA: '/local' }, 'win32', '/local/llamero/Cache'],
  ];
  for (const [name, env, platform, expected] of cases) {
    // On Windows the same paths come with a drive letter and backslashes.
    it(name, () =>
      assert.equal(
        cacheDirectory(env, platform)
          .replace(/^[A-Z]:/, '')
          .replaceAll('\\', '/'),
        expected,
      ),
    );
  }
});

describe('processors', () => {
  it('reads the instruction sets of /proc/cpuinfo and leaves out what depends on kernel and hypervisor', () => {
    const text =
      'processor\t: 0\nflags\t\t: fpu sse4_2 avx2 hypervisor constant_tsc avx512f bmi2\nbugs\t: spectre_v1\n';
    assert.deepEqual(parseInstructionSets(text), ['avx2', 'avx512f', 'bmi2', 'sse4_2']);
    assert.deepEqual(parseInstructionSets('Features\t: fp asimd sve crc32\n'), ['asimd', 'crc32', 'fp', 'sve']);
    assert.deepEqual(parseInstructionSets(''), []);
  });

  const cases: [string, Cpu, Cpu, boolean][] = [
    ['the same processor', cpu(['avx2']), cpu(['avx2']), true],
    ['one with more instruction sets', cpu(['avx2']), cpu(['avx2', 'avx512f']), true],
    ['one that lacks an instruction set', cpu(['avx2', 'avx512f']), cpu(['avx2']), false],
    ['another architecture', { ...cpu(['avx2']), arch: 'arm64' }, cpu(['avx2']), false],
    ['the same model, where instruction sets are not told', cpu([], 'Apple M1'), cpu([], 'Apple M1'), true],
    ['another model, where instruction sets are not told', cpu([], 'Apple M4'), cpu([], 'Apple M1'), false],
  ];
  for (const [name, builtFor, here, expected] of cases) {
    it(`a build ${expected ? 'runs' : 'does not run'} on ${name}`, () =>
      assert.equal(runsOn(builtFor, here), expected));
  }

  it('gives processors that can share a build one key', () => {
    assert.equal(cpuKey(cpu(['avx2'], 'A')), cpuKey(cpu(['avx2'], 'B')));
    assert.notEqual(cpuKey(cpu(['avx2'])), cpuKey(cpu(['avx512f'])));
    assert.match(cpuKey(cpu([])), /^[0-9a-f]{8}$/);
  });
});

describe('missing tools', () => {
  const cases: [Parameters<typeof describeMissingTools>, RegExp][] = [
    [[['git', 'cmake', 'compiler', 'make'], 'apt-get', 'linux'], /sudo apt-get install -y git cmake g\+\+ make$/],
    [[['compiler'], 'dnf', 'linux'], /a C\+\+ compiler, not found.*sudo dnf install -y gcc-c\+\+$/],
    [[['cmake'], 'pacman', 'linux'], /sudo pacman -S --needed cmake$/],
    [[['cmake', 'make'], 'apk', 'linux'], /sudo apk add cmake make$/],
    [[['cmake'], 'brew', 'darwin'], /Install with: brew install cmake$/],
    [[['compiler', 'cmake'], 'brew', 'darwin'], /Install with: xcode-select --install && brew install cmake$/],
    [[['git', 'cmake'], 'winget', 'win32'], /winget install Git\.Git && winget install Kitware\.CMake$/],
    [[['compiler'], 'winget', 'win32'], /winget install Microsoft\.VisualStudio\.2022\.BuildTools --override/],
    [[['git'], null, 'linux'], /needs git, not found on this machine\. Install it with the package manager/],
  ];
  for (const [args, expected] of cases) {
    it(`${args[0].join(', ')} with ${args[1]}`, () => assert.match(describeMissingTools(...args), expected));
  }

  const distributions: [string, ReturnType<typeof packageManagerOf>][] = [
    ['ID=debian\n', 'apt-get'],
    ['NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', 'apt-get'],
    ['ID=alpine', 'apk'],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"', 'dnf'],
    ['ID=manjaro\nID_LIKE=arch', 'pacman'],
    ['ID="opensuse-leap"\nID_LIKE="suse opensuse"', 'zypper'],
    ['ID=nixos', null],
  ];
  for (const [text, expected] of distributions) {
    it(`${text.split('\n').at(-1) || text.trim()} uses ${expected}`, () =>
      assert.equal(packageManagerOf(text), expected));
  }

  it('recognises the words of CMake and Xcode', () => {
    assert.ok(saysNoCompiler(['-- x', 'No CMAKE_CXX_COMPILER could be found.']));
    assert.ok(saysNoCompiler(['xcode-select: note: no developer tools were found at ...']));
    assert.ok(!saysNoCompiler(['error: expected expression']));
  });
});

describe('npm settings', () => {
  it('takes what concerns fetching, with variables replaced', () => {
    const text = [
      '; comment',
      'registry = https://npm.example.com/',
      '//npm.example.com/:_authToken=${TOKEN}',
      'strict-ssl=false',
      'https-proxy="http://proxy:3128"',
      'cache=/var/npm',
      'fund=false',
    ].join('\n');
    assert.deepEqual(parseNpmrc(text, { TOKEN: 'secret' }), {
      registry: 'https://npm.example.com/',
      '//npm.example.com/:_authToken': 'secret',
      strictSSL: false,
      httpsProxy: 'http://proxy:3128',
      cache: parseNpmrc('cache=/var/npm', {})['cache'],
    });
  });
});

describe('build settings', () => {
  it('runs one compiler per core, fewer where memory is short, at least one', () => {
    assert.equal(buildJobs(8, 64 * 1024 ** 3), 8);
    assert.equal(buildJobs(8, 4 * 1024 ** 3), 2);
    assert.equal(buildJobs(2, 512 * 1024 ** 2), 1);
  });
  it('splits LLAMERO_CMAKE_ARGS', () => {
    assert.deepEqual(extraCmakeArguments({ LLAMERO_CMAKE_ARGS: ' -DGGML_CUDA=ON  -DX=1 ' }), [
      '-DGGML_CUDA=ON',
      '-DX=1',
    ]);
    assert.deepEqual(extraCmakeArguments({}), []);
  });
});

function cpu(instructionSets: string[], model = 'A'): Cpu {
  return { arch: 'x64', model, instructionSets };
}
