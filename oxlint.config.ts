import { defineConfig, type OxlintOverride } from 'oxlint';

/**
 * Who may import whom: a layer may import the layers above it in this list, and no sibling. The picture is in
 * ARCHITECTURE.md. `files` are files of src/core, `folders` stand in src or in src/core.
 */
const LAYERS: readonly { files?: readonly string[]; folders?: readonly string[] }[] = [
  { files: ['errors', 'events', 'config', 'cgroup-memory'], folders: ['config'] },
  { folders: ['openai', 'resilience', 'admission', 'engine'] },
  { folders: ['fleet'] },
  { files: ['exchange', 'running-exchange', 'pipeline'] },
  { folders: ['llm'] },
  { folders: ['gateway'] },
  { folders: ['cli'] },
];

/** Beside the layers: what these folders may import of src/core, and who may import them. */
const BESIDE = [
  { folder: 'telemetry', mayImport: ['events', 'errors'], importedBy: ['gateway', 'cli'] },
  { folder: 'dashboard', mayImport: ['events', 'errors'], importedBy: ['gateway', 'cli'] },
  { folder: 'testing', mayImport: ['errors'], importedBy: ['cli'] },
];

const names = (kind: 'files' | 'folders', from = 0) => LAYERS.slice(from).flatMap((layer) => layer[kind] ?? []);

const layerRules = LAYERS.flatMap(({ files = [], folders = [] }, level) => {
  const higher = { files: names('files', level + 1), folders: names('folders', level + 1) };
  const fileRules = files.map((file) => importRule([`src/core/${file}.ts`], higher, file));
  const folderRules = folders.map((folder) => {
    const siblings = folders.filter((name) => name !== folder);
    return importRule([`src/{,core/}${folder}/**`], { ...higher, folders: [...siblings, ...higher.folders] }, folder);
  });
  return fileRules.concat(folderRules);
});

const besideRules = BESIDE.map(({ folder, mayImport }) => {
  const files = names('files').filter((name) => !mayImport.includes(name));
  return importRule([`src/${folder}/**`], { files, folders: names('folders') }, folder);
});

/** Refuses relative imports of these files of src/core and of these folders; and of what stands beside the layers. */
function importRule(
  where: string[],
  forbidden: { files: readonly string[]; folders: readonly string[] },
  importer: string,
): OxlintOverride {
  const beside = BESIDE.filter(({ folder, importedBy }) => folder !== importer && !importedBy.includes(importer));
  const folders = [...forbidden.folders, ...beside.map(({ folder }) => folder)];
  const message = `${importer} may not import this: see the layers in oxlint.config.ts.`;
  const patterns = [
    { regex: String.raw`^\.{1,2}/(.*/)?(${folders.join('|')})/`, message },
    ...(forbidden.files.length === 0
      ? []
      : [{ regex: String.raw`^\.{1,2}/(.*/)?(${forbidden.files.join('|')})\.ts$`, message }]),
  ];
  return { files: where, rules: { 'no-restricted-imports': ['error', { patterns }] } };
}

/** What belongs to the whole process is used by the command line alone; everybody else is given what they need. */
function processRule(properties: readonly string[]): OxlintOverride['rules'] {
  const message = 'Only src/cli uses the process: take what is needed as an option.';
  const refused = properties.map((property) => ({ object: 'process', property, message }));
  return { 'no-restricted-properties': ['error', ...refused] };
}

export default defineConfig({
  plugins: ['typescript', 'unicorn', 'import', 'oxc', 'promise', 'node'],
  categories: { correctness: 'error', suspicious: 'error', perf: 'warn' },
  options: { typeAware: true },
  env: { node: true, es2024: true },
  ignorePatterns: ['dist/**', 'dist-tests/**', 'node_modules/**'],
  rules: {
    'typescript/no-floating-promises': [
      'error',
      {
        allowForKnownSafeCalls: [{ from: 'package', package: 'node:test', name: ['describe', 'it', 'test', 'suite'] }],
      },
    ],
    'typescript/consistent-return': 'off',
    'typescript/no-misused-promises': 'error',
    'typescript/no-explicit-any': 'error',
    'import/no-cycle': 'error',
    'import/no-unassigned-import': 'off',
    'no-await-in-loop': 'off',
    'no-underscore-dangle': 'off',
    'typescript/no-unsafe-type-assertion': 'off',
    'unicorn/no-array-sort': 'off',
  },
  overrides: [
    ...layerRules,
    ...besideRules,
    { files: ['src/**'], rules: processRule(['env', 'argv', 'on', 'once', 'exit']) },
    { files: ['src/core/llm/**'], rules: processRule(['argv', 'on', 'once', 'exit']) },
    { files: ['src/cli/**', 'src/testing/**'], rules: { 'no-restricted-properties': 'off' } },
    {
      files: ['**/__tests__/**'],
      rules: { 'no-restricted-imports': 'off', 'no-restricted-properties': 'off' },
    },
  ],
});
