import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { create } from 'tar';
import type { FetchSourceOptions } from '../source-package.ts';

/** A local npm registry with one package, whose tarball holds a git bundle. */
export interface SourceRegistry {
  url: string;
  source: NonNullable<FetchSourceOptions['source']>;
  /** How often the tarball was asked for. */
  tarballRequests: number;
  close(): Promise<void>;
}

/** Starts the registry. */
export async function startSourceRegistry(directory: string): Promise<SourceRegistry> {
  const bundlePath = 'package/llama/gitRelease.bundle';
  await mkdir(path.join(directory, 'package/llama'), { recursive: true });
  await writeFile(path.join(directory, bundlePath), 'a bundle, as far as the fake git is concerned');
  await writeFile(path.join(directory, 'package/package.json'), '{"name":"engine-source","version":"1.0.0"}');
  const file = path.join(directory, 'engine-source.tgz');
  await create({ file, cwd: directory, gzip: true, portable: true }, ['package']);
  const tarball = await readFile(file);
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const server = createServer((request, response) => {
    if (request.url === '/engine-source') {
      const dist = { tarball: `${registry.url}/engine-source/-/engine-source-1.0.0.tgz`, integrity };
      const manifest = { name: 'engine-source', version: '1.0.0', dist };
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ name: 'engine-source', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': manifest } }),
      );
    } else if (request.url === '/engine-source/-/engine-source-1.0.0.tgz') {
      registry.tarballRequests += 1;
      response.end(tarball);
    } else response.writeHead(404).end();
  });
  const registry: SourceRegistry = {
    url: '',
    source: { name: 'engine-source', version: '1.0.0', integrity, sizeBytes: tarball.length, bundlePath },
    tarballRequests: 0,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  registry.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return registry;
}

/** git, as far as a clone needs it: the last argument is the directory to make. */
const GIT = `#!/bin/sh
echo "$*" >> "$FAKE_LOG"
for target; do :; done
mkdir -p "$target"
`;

/**
 * CMake, as far as an installation needs it. FAKE_CMAKE tells what the build does: nothing, \`fail\`, \`hang\` (after it
 * told its pid in FAKE_LOG), \`no-compiler\`, or \`broken-object\` (fails in a directory that was built in before).
 */
const CMAKE = `#!/bin/sh
echo "cmake $*" >> "$FAKE_LOG"
if [ "$1" = -S ]; then
  if [ "$FAKE_CMAKE" = no-compiler ]; then
    echo "CMake Error: No CMAKE_CXX_COMPILER could be found." >&2
    exit 1
  fi
  exit 0
fi
build="$2"
if [ "$FAKE_CMAKE" = broken-object ] && [ -e "$build/object" ]; then
  echo "ld: object: file truncated" >&2
  exit 1
fi
echo "[ 25%] Building CXX object src/CMakeFiles/llama.dir/llama.cpp.o"
touch "$build/object"
if [ "$FAKE_CMAKE" = fail ]; then
  echo "server.cpp:1: error: expected expression"
  exit 2
fi
if [ "$FAKE_CMAKE" = hang ]; then
  echo "pid $$" >> "$FAKE_LOG"
  sleep 600
fi
echo "[ 75%] Building CXX object tools/CMakeFiles/server.dir/server.cpp.o"
mkdir -p "$build/bin"
printf '#!/bin/sh\\necho "version: 0.5.0-dev (build 1, commit de3ff81)"\\n' > "$build/bin/llama-server"
chmod 755 "$build/bin/llama-server"
echo "[100%] Built target llama-server"
`;

/** What a script of the fake tools calls; the rest of the machine's tools are not on the PATH of the tests. */
const SHELL_TOOLS = ['sh', 'mkdir', 'touch', 'chmod', 'sleep', 'printf'];

/** Makes a directory of fake build tools, to be the whole PATH. Without a list: all of them. */
export async function writeFakeTools(
  directory: string,
  tools: readonly string[] = ['git', 'cmake', 'c++', 'make'],
): Promise<string> {
  await mkdir(directory, { recursive: true });
  for (const tool of tools) {
    const file = path.join(directory, tool);
    await writeFile(file, { git: GIT, cmake: CMAKE }[tool] ?? '#!/bin/sh\nexit 0\n');
    await chmod(file, 0o755);
  }
  for (const tool of SHELL_TOOLS) await symlink(await whichTool(tool), path.join(directory, tool));
  return directory;
}

async function whichTool(name: string): Promise<string> {
  const { findOnPath } = await import('../find-on-path.ts');
  return (await findOnPath(name, { PATH: '/bin:/usr/bin' })) ?? `/bin/${name}`;
}
