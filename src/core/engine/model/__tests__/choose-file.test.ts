import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseModel, modelsAmong, nothingFits, quantisationOfName } from '../choose-file.ts';

const LLAMA = [
  '.gitattributes',
  'README.md',
  'Llama-3.2-1B-Instruct-IQ3_M.gguf',
  'Llama-3.2-1B-Instruct-IQ4_XS.gguf',
  'Llama-3.2-1B-Instruct-Q3_K_L.gguf',
  'Llama-3.2-1B-Instruct-Q4_0.gguf',
  'Llama-3.2-1B-Instruct-Q4_K_L.gguf',
  'Llama-3.2-1B-Instruct-Q4_K_M.gguf',
  'Llama-3.2-1B-Instruct-Q4_K_S.gguf',
  'Llama-3.2-1B-Instruct-Q8_0.gguf',
  'Llama-3.2-1B-Instruct-f16.gguf',
  'Llama-3.2-1B-Instruct.imatrix',
];
const VISION = [
  'README.md',
  'Qwen2.5-VL-7B-Instruct-Q8_0.gguf',
  'Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf',
  'mmproj-Qwen2.5-VL-7B-Instruct-Q8_0.gguf',
  'mmproj-F16.gguf',
  'imatrix-Qwen2.5-VL.gguf',
];
const SPLIT = [
  'Q8_0/DeepSeek-V3-Q8_0-00001-of-00003.gguf',
  'Q8_0/DeepSeek-V3-Q8_0-00002-of-00003.gguf',
  'Q8_0/DeepSeek-V3-Q8_0-00003-of-00003.gguf',
  'Q4_K_M/DeepSeek-V3-Q4_K_M-00001-of-00002.gguf',
  'Q4_K_M/DeepSeek-V3-Q4_K_M-00002-of-00002.gguf',
  'UD-Q2_K_XL/DeepSeek-V3-UD-Q2_K_XL-00001-of-00002.gguf',
];
const GPT_OSS = ['gpt-oss-20b-MXFP4.gguf', 'gpt-oss-20b-F16.gguf'];
const UNSLOTH = ['gemma-3-1b-it-UD-Q4_K_XL.gguf', 'gemma-3-1b-it-Q3_K_M.gguf', 'gemma-3-1b-it-BF16.gguf'];
const PLAIN = ['tinyllama.gguf', 'README.md'];
const LOW = ['model-IQ1_S.gguf', 'model-IQ2_XXS.gguf', 'model-Q2_K.gguf'];

const names = (paths: string[]) => modelsAmong(paths).map((model) => model.files[0]);

describe('quantisationOfName', () => {
  for (const [name, expected] of [
    ['Llama-3.2-1B-Instruct-Q4_K_M.gguf', 'Q4_K_M'],
    ['model.q8_0.gguf', 'Q8_0'],
    ['Llama-3.2-1B-Instruct-f16.gguf', 'F16'],
    ['gemma-UD-Q4_K_XL.gguf', 'UD-Q4_K_XL'],
    ['Q8_0/DeepSeek-V3-Q4_K_M-00001-of-00002.gguf', 'Q4_K_M'],
    ['model-IQ2_XXS.gguf', 'IQ2_XXS'],
    ['model-F16-Q5_K_S.gguf', 'Q5_K_S'],
    ['gpt-oss-120b-MXFP4.gguf', 'MXFP4'],
    ['bf16.gguf', 'BF16'],
    ['tinyllama.gguf', null],
    ['sf16x.gguf', null],
  ] as const) {
    it(`reads ${name}`, () => assert.equal(quantisationOfName(name), expected));
  }
});

describe('modelsAmong', () => {
  it('leaves out companions, other files and incomplete splits', () => {
    assert.equal(names(LLAMA).length, 9);
    assert.deepEqual(names(VISION), ['Qwen2.5-VL-7B-Instruct-Q8_0.gguf', 'Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf']);
    assert.deepEqual(names(SPLIT), [SPLIT[0], SPLIT[3]]);
    assert.deepEqual(names(['mtp-head-Q8_0.gguf', 'ggml-vocab-x.gguf', 'my-lora-F16.gguf']), []);
  });
});

describe('chooseModel', () => {
  const TABLE: [string, string[], string | null, string | undefined, string | null][] = [
    ['prefers Q4_K_M', LLAMA, null, undefined, 'Llama-3.2-1B-Instruct-Q4_K_M.gguf'],
    ['is not misled by a projector', VISION, null, undefined, 'Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf'],
    ['takes a split model', SPLIT, null, undefined, 'Q4_K_M/DeepSeek-V3-Q4_K_M-00001-of-00002.gguf'],
    ['prefers 4 bits of another kind to 16', GPT_OSS, null, undefined, 'gpt-oss-20b-MXFP4.gguf'],
    ['prefers 4 dynamic bits to 3', UNSLOTH, null, undefined, 'gemma-3-1b-it-UD-Q4_K_XL.gguf'],
    ['takes what there is', PLAIN, null, undefined, 'tinyllama.gguf'],
    ['takes the best of low ones', LOW, null, undefined, 'model-Q2_K.gguf'],
    ['takes the wished one in any case', LLAMA, 'q8_0', undefined, 'Llama-3.2-1B-Instruct-Q8_0.gguf'],
    ['takes unquantised when wished', LLAMA, 'F16', undefined, 'Llama-3.2-1B-Instruct-f16.gguf'],
    ['does not take Q4_K_M for Q4_K', LLAMA, 'Q4_K', undefined, null],
    ['finds a dynamic one by its plain name', UNSLOTH, 'Q4_K_XL', undefined, 'gemma-3-1b-it-UD-Q4_K_XL.gguf'],
    ['finds a name that is no quantisation', PLAIN, 'tinyllama', undefined, 'tinyllama.gguf'],
    ['has no Q5', GPT_OSS, 'Q5_K_M', undefined, null],
    ['does not take an incomplete split', SPLIT, 'UD-Q2_K_XL', undefined, null],
    ['takes a file by name', VISION, null, 'mmproj-F16.gguf', 'mmproj-F16.gguf'],
    ['takes the first part for any', SPLIT, null, SPLIT[4], SPLIT[3]!],
    ['knows a missing file', VISION, null, 'other.gguf', null],
    ['finds nothing in nothing', ['README.md'], null, undefined, null],
  ];
  for (const [name, paths, quantization, file, expected] of TABLE) {
    it(name, () => {
      const model = chooseModel(paths, { quantization, ...(file === undefined ? {} : { file }) });
      assert.equal(model?.files[0] ?? null, expected);
    });
  }

  it('chooses the same whatever the order', () => {
    const two = ['b/model-Q4_K_M.gguf', 'a/model-Q4_K_M.gguf', 'a/model-abliterated-Q4_K_M.gguf'];
    const choices = [two, two.toReversed()].map((paths) => chooseModel(paths, { quantization: null })?.files[0]);
    assert.deepEqual(choices, ['a/model-Q4_K_M.gguf', 'a/model-Q4_K_M.gguf']);
  });
});

describe('nothingFits', () => {
  it('lists what there is', () => {
    const error = nothingFits('user/repo', GPT_OSS, { quantization: 'Q5_K_M' });
    assert.equal(error.code, 'model_not_found');
    assert.match(error.message, /no "Q5_K_M".*MXFP4, F16/);
    assert.match(nothingFits('user/repo', ['a.safetensors'], { quantization: null }).message, /no GGUF/);
  });
});
