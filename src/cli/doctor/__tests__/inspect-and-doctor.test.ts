import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeTinyModel } from '../../../testing/write-tiny-model.ts';
import { type Ended, llamero as runLlamero } from '../../__tests__/child.ts';

const TIMEOUT = { timeout: 60_000 };
let directory: string;
let model: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'llamero-doctor-'));
  model = join(directory, 'tiny.gguf');
  await writeTinyModel(model);
});
after(async () => {
  await rm(directory, { recursive: true });
});

/** Runs the command line in an empty world: no engine, no configuration, a cache of its own. */
function llamero(...args: string[]): Promise<Ended> {
  const env = { LLAMERO_CACHE_DIR: join(directory, 'cache') };
  return runLlamero(args, { cwd: directory, env });
}

describe('llamero inspect', () => {
  it('tells what the file holds and needs', TIMEOUT, async () => {
    const { code, stdout } = await llamero('inspect', model, '--parallel', '2', '--ctx-size', '1024');
    assert.equal(code, 0);
    assert.match(stdout, /architecture +llama/);
    assert.match(stdout, /chat template +yes/);
    assert.match(stdout, /Memory for 2 slots of 1024 tokens/);
    assert.match(stdout, /fit +fits/);
  });

  it('prints JSON alone on stdout', TIMEOUT, async () => {
    const { stdout } = await llamero('inspect', model, '--json');
    const inspection = JSON.parse(stdout) as { model: { facts: { architecture: string } }; fit: string };
    assert.equal(inspection.model.facts.architecture, 'llama');
    assert.equal(inspection.fit, 'fits');
  });

  it('ends with 1 or 2 and a plain message when it cannot', TIMEOUT, async () => {
    const missing = await llamero('inspect', './nothing.gguf');
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /There is no model at/);
    assert.equal(missing.stdout, '');
    assert.equal((await llamero('inspect', model, '--parallel', 'many')).code, 2);
    assert.equal((await llamero('inspect')).code, 2);
  });
});

describe('llamero doctor', () => {
  it('checks everything about a model, and names what is missing', TIMEOUT, async () => {
    const { stdout } = await llamero('doctor', model);
    for (const name of ['node', 'machine', 'cache', 'engine', 'configuration', 'model', 'memory', 'context']) {
      assert.match(stdout, new RegExp(`^(ok|warning|PROBLEM) +${name} `, 'm'), name);
    }
  });

  it('ends with 1 when a model is missing', TIMEOUT, async () => {
    const { code, stdout } = await llamero('doctor', './nothing.gguf');
    assert.equal(code, 1);
    assert.match(stdout, /PROBLEM +model +There is no model/);
  });

  it('judges the configuration file and the port in it', TIMEOUT, async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const file = join(directory, 'taken.yaml');
      await writeFile(file, `gateway: { port: ${port} }\n`);
      const taken = await llamero('doctor', '--config', file, '--json');
      assert.equal(taken.code, 1);
      const { checks } = JSON.parse(taken.stdout) as { checks: { name: string; status: string }[] };
      assert.equal(checks.find((check) => check.name === 'port')?.status, 'problem');

      await writeFile(file, 'gateway: { prot: 1 }\n');
      const broken = await llamero('doctor', '--config', file);
      assert.equal(broken.code, 1);
      assert.match(broken.stdout, /PROBLEM +configuration +.*\n.*gateway\.prot/);
    } finally {
      server.close();
      await once(server, 'close');
    }
  });
});
