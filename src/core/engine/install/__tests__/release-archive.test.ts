import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cudaMajorOfDriver, type Accelerator } from '../accelerator.ts';
import { archiveVariant, chooseArchives, type ReleaseTarget } from '../release-archive.ts';

/** The names that llama.cpp's release workflow gives at v0.5.0. */
const AVAILABLE = [
  'cudart-llama-b11150-bin-ubuntu-cuda-12.8-x64.tar.gz',
  'cudart-llama-b11150-bin-ubuntu-cuda-13.4-arm64.tar.gz',
  'cudart-llama-b11150-bin-ubuntu-cuda-13.4-x64.tar.gz',
  'cudart-llama-bin-win-cuda-12.4-x64.zip',
  'cudart-llama-bin-win-cuda-13.4-arm64.zip',
  'cudart-llama-bin-win-cuda-13.4-x64.zip',
  'llama-b11150-bin-android-arm64.tar.gz',
  'llama-b11150-bin-linux-arm64-snapdragon.tar.gz',
  'llama-b11150-bin-macos-arm64.tar.gz',
  'llama-b11150-bin-macos-x64.tar.gz',
  'llama-b11150-bin-ubuntu-arm64.tar.gz',
  'llama-b11150-bin-ubuntu-cuda-12.8-x64.tar.gz',
  'llama-b11150-bin-ubuntu-cuda-13.4-arm64.tar.gz',
  'llama-b11150-bin-ubuntu-cuda-13.4-x64.tar.gz',
  'llama-b11150-bin-ubuntu-openvino-2026.4-x64.tar.gz',
  'llama-b11150-bin-ubuntu-rocm-10.0-x64.tar.gz',
  'llama-b11150-bin-ubuntu-s390x.tar.gz',
  'llama-b11150-bin-ubuntu-sycl-fp16-x64.tar.gz',
  'llama-b11150-bin-ubuntu-vulkan-arm64.tar.gz',
  'llama-b11150-bin-ubuntu-vulkan-x64.tar.gz',
  'llama-b11150-bin-ubuntu-x64.tar.gz',
  'llama-b11150-bin-win-cpu-arm64.zip',
  'llama-b11150-bin-win-cpu-x64.zip',
  'llama-b11150-bin-win-cuda-12.4-x64.zip',
  'llama-b11150-bin-win-cuda-13.4-arm64.zip',
  'llama-b11150-bin-win-cuda-13.4-x64.zip',
  'llama-b11150-bin-win-opencl-adreno-arm64.zip',
  'llama-b11150-bin-win-rocm-10.0-x64.zip',
  'llama-b11150-bin-win-vulkan-x64.zip',
  'llama-b11150-ui.tar.gz',
  'llama-b11150-xcframework.zip',
];

const target = (
  platform: NodeJS.Platform,
  arch: string,
  preferred: Accelerator[],
  majors: { cudaMajor?: number | null; rocmMajor?: number | null } = {},
): ReleaseTarget => ({
  platform,
  arch,
  libc: platform === 'linux' ? 'glibc' : null,
  accelerators: { preferred, cudaMajor: null, rocmMajor: null, ...majors },
});

describe('chooseArchives', () => {
  const cases: [string, ReleaseTarget, string[] | null][] = [
    ['Linux x64', target('linux', 'x64', ['cpu']), ['llama-b11150-bin-ubuntu-x64.tar.gz']],
    ['Linux arm64', target('linux', 'arm64', ['cpu']), ['llama-b11150-bin-ubuntu-arm64.tar.gz']],
    ['Linux s390x', target('linux', 's390x', ['cpu']), ['llama-b11150-bin-ubuntu-s390x.tar.gz']],
    ['Linux x64, Vulkan', target('linux', 'x64', ['vulkan', 'cpu']), ['llama-b11150-bin-ubuntu-vulkan-x64.tar.gz']],
    [
      'Linux x64, a driver of CUDA 12, with its runtime',
      target('linux', 'x64', ['cuda', 'vulkan', 'cpu'], { cudaMajor: 12 }),
      ['llama-b11150-bin-ubuntu-cuda-12.8-x64.tar.gz', 'cudart-llama-b11150-bin-ubuntu-cuda-12.8-x64.tar.gz'],
    ],
    [
      'Linux x64, a driver of CUDA 13: the newest',
      target('linux', 'x64', ['cuda', 'cpu'], { cudaMajor: 13 }),
      ['llama-b11150-bin-ubuntu-cuda-13.4-x64.tar.gz', 'cudart-llama-b11150-bin-ubuntu-cuda-13.4-x64.tar.gz'],
    ],
    [
      'Linux arm64, a driver too old for its only CUDA archive',
      target('linux', 'arm64', ['cuda', 'cpu'], { cudaMajor: 12 }),
      ['llama-b11150-bin-ubuntu-arm64.tar.gz'],
    ],
    [
      'Linux x64, the ROCm of the archive',
      target('linux', 'x64', ['rocm', 'cpu'], { rocmMajor: 10 }),
      ['llama-b11150-bin-ubuntu-rocm-10.0-x64.tar.gz'],
    ],
    [
      'Linux x64, another ROCm: Vulkan',
      target('linux', 'x64', ['rocm', 'vulkan', 'cpu'], { rocmMajor: 6 }),
      ['llama-b11150-bin-ubuntu-vulkan-x64.tar.gz'],
    ],
    ['macOS arm64', target('darwin', 'arm64', ['metal', 'cpu']), ['llama-b11150-bin-macos-arm64.tar.gz']],
    ['macOS x64', target('darwin', 'x64', ['cpu']), ['llama-b11150-bin-macos-x64.tar.gz']],
    ['Windows x64', target('win32', 'x64', ['cpu']), ['llama-b11150-bin-win-cpu-x64.zip']],
    ['Windows arm64', target('win32', 'arm64', ['vulkan', 'cpu']), ['llama-b11150-bin-win-cpu-arm64.zip']],
    [
      'Windows x64, CUDA 12, with its runtime',
      target('win32', 'x64', ['cuda', 'cpu'], { cudaMajor: 12 }),
      ['llama-b11150-bin-win-cuda-12.4-x64.zip', 'cudart-llama-bin-win-cuda-12.4-x64.zip'],
    ],
    ['FreeBSD', target('freebsd', 'x64', ['cpu']), null],
    ['Linux on an architecture without archive', target('linux', 'riscv64', ['cpu']), null],
    ['musl', { ...target('linux', 'x64', ['cpu']), libc: 'musl' }, null],
  ];
  for (const [name, machine, expected] of cases) {
    it(name, () => assert.deepEqual(chooseArchives(AVAILABLE, machine)?.names ?? null, expected));
  }
});

describe('archiveVariant', () => {
  it('names what an archive is for', () => {
    assert.equal(archiveVariant('llama-b11150-bin-ubuntu-cuda-12.8-x64.tar.gz'), 'ubuntu-cuda-12.8-x64');
    assert.equal(archiveVariant('cudart-llama-bin-win-cuda-12.4-x64.zip'), 'win-cuda-12.4-x64');
  });
});

describe('cudaMajorOfDriver', () => {
  const cases: [string, number | null][] = [
    [line('550.54.14'), 12],
    [line('580.65.06'), 13],
    [line('470.223.02'), null],
    ['NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  590.10.01  Release Build', 13],
    ['', null],
  ];
  for (const [text, expected] of cases) {
    it(`${/\d{3}\.[\d.]+/.exec(text)?.[0] ?? 'no driver'} runs CUDA ${expected ?? 'not'}`, () =>
      assert.equal(cudaMajorOfDriver(text), expected));
  }
});

function line(version: string): string {
  return `NVRM version: NVIDIA UNIX x86_64 Kernel Module  ${version}  Thu Feb 22 2024\nGCC version: 12`;
}
