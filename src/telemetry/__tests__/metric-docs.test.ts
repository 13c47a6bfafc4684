import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { GEN_AI_METRICS, METRICS, PROCESS_METRICS } from '../metric-catalogue.ts';
import { withTables } from '../metric-docs.ts';

const PAGE = new URL('../../../docs/metrics.md', import.meta.url);

describe('docs/metrics.md', () => {
  it('has the tables that the catalogue makes; npm run docs:metrics writes them', async () => {
    const page = await readFile(PAGE, 'utf8');
    assert.equal(page, withTables(page));
    for (const name of Object.keys({ ...METRICS, ...GEN_AI_METRICS, ...PROCESS_METRICS })) {
      assert.ok(page.includes(`| \`${name}\` |`), name);
    }
  });

  it('is not made from a mark without a table', () => {
    assert.throws(() => withTables('<!-- metrics nothing -->\n<!-- end -->'), /nothing/);
  });
});
