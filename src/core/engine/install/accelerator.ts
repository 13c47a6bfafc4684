import { access, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** What a llama-server may compute on. `metal` is part of every macOS arm64 archive. */
export type Accelerator = 'cuda' | 'rocm' | 'vulkan' | 'metal' | 'cpu';

/** What was found of accelerators, best first, always ending in `cpu`. */
export interface AcceleratorSupport {
  preferred: Accelerator[];
  /** The newest CUDA major version that the driver runs; null without CUDA, or where it cannot be told. */
  cudaMajor: number | null;
  /** Major version of an installed ROCm. */
  rocmMajor: number | null;
}

const VULKAN_LOADERS = [
  '/usr/lib/x86_64-linux-gnu/libvulkan.so.1',
  '/usr/lib/aarch64-linux-gnu/libvulkan.so.1',
  '/usr/lib64/libvulkan.so.1',
  '/usr/lib/libvulkan.so.1',
];

/**
 * Looks for accelerators by the files that their drivers leave, which takes milliseconds and starts nothing.
 * `LLAMERO_ACCELERATOR` (`cuda`, `rocm`, `vulkan`, `cpu`) decides instead where it is set.
 */
export async function detectAccelerators(env: NodeJS.ProcessEnv): Promise<AcceleratorSupport> {
  const found = await detect(env);
  const chosen = env['LLAMERO_ACCELERATOR'];
  if (isAccelerator(chosen)) return { ...found, preferred: chosen === 'cpu' ? ['cpu'] : [chosen, 'cpu'] };
  return found;
}

/**
 * The newest CUDA major version that an NVIDIA driver of Linux runs, from /proc/driver/nvidia/version.
 * Drivers of branch 525 run every CUDA 12, of branch 580 every CUDA 13 (NVIDIA, CUDA compatibility, minor version compatibility).
 */
export function cudaMajorOfDriver(procVersion: string): number | null {
  const branch = Number(/(?:Kernel Module|x86_64|aarch64)[^\d]*(\d{3})\.\d+/.exec(procVersion)?.[1]);
  if (branch >= 580) return 13;
  return branch >= 525 ? 12 : null;
}

async function detect(env: NodeJS.ProcessEnv): Promise<AcceleratorSupport> {
  switch (process.platform) {
    case 'darwin':
      return support([process.arch === 'arm64' ? 'metal' : 'cpu']);
    case 'win32':
      return detectOnWindows(path.join(env['SystemRoot'] ?? 'C:\\Windows', 'System32'));
    case 'linux':
      return detectOnLinux();
    default:
      return support([]);
  }
}

async function detectOnWindows(system: string): Promise<AcceleratorSupport> {
  const preferred: Accelerator[] = [];
  const hasCuda = await exists(path.join(system, 'nvcuda.dll'));
  if (hasCuda) preferred.push('cuda');
  if (await exists(path.join(system, 'vulkan-1.dll'))) preferred.push('vulkan');
  // The driver's version is not in a file here; CUDA 12 runs on every driver of the last years (arm64 has only 13).
  return support(preferred, hasCuda ? (process.arch === 'arm64' ? 13 : 12) : null);
}

async function detectOnLinux(): Promise<AcceleratorSupport> {
  const preferred: Accelerator[] = [];
  const cudaMajor = cudaMajorOfDriver(await readText('/proc/driver/nvidia/version'));
  if (cudaMajor !== null) preferred.push('cuda');
  const rocmMajor = (await exists('/dev/kfd'))
    ? Number.parseInt(await readText('/opt/rocm/.info/version'), 10)
    : Number.NaN;
  if (!Number.isNaN(rocmMajor)) preferred.push('rocm');
  const hasLoader = (await Promise.all(VULKAN_LOADERS.map((file) => exists(file)))).includes(true);
  if (hasLoader && (await hasRenderNode())) preferred.push('vulkan');
  return support(preferred, cudaMajor, Number.isNaN(rocmMajor) ? null : rocmMajor);
}

function support(
  preferred: Accelerator[],
  cudaMajor: number | null = null,
  rocmMajor: number | null = null,
): AcceleratorSupport {
  return { preferred: [...new Set<Accelerator>([...preferred, 'cpu'])], cudaMajor, rocmMajor };
}

function isAccelerator(text: string | undefined): text is Accelerator {
  return text === 'cuda' || text === 'rocm' || text === 'vulkan' || text === 'metal' || text === 'cpu';
}

async function hasRenderNode(): Promise<boolean> {
  try {
    return (await readdir('/dev/dri')).some((name) => name.startsWith('renderD'));
  } catch {
    // No graphics device in this machine or container.
    return false;
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}
