import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LlameroError } from '../../core/errors.ts';
import { checkMedia } from '../media-guard.ts';

const PNG = 'data:image/png;base64,iVBORw0KGgo=';
const REMOTE = 'https://example.org/cat.png';

/** Where an address may stand, in every dialect; `param` is how a refusal names it. */
const PLACES: [name: string, put: (address: string) => Record<string, unknown>, param: string][] = [
  ['chat image', (url) => inMessage({ type: 'image_url', image_url: { url } }), 'messages[0].content[0].image_url.url'],
  [
    'chat image as a string',
    (url) => inMessage({ type: 'image_url', image_url: url }),
    'messages[0].content[0].image_url',
  ],
  [
    'chat audio',
    (data) => inMessage({ type: 'input_audio', input_audio: { data } }),
    'messages[0].content[0].input_audio.data',
  ],
  [
    'chat audio by url',
    (url) => inMessage({ type: 'input_audio', input_audio: { url } }),
    'messages[0].content[0].input_audio.url',
  ],
  [
    'chat audio that claims to be text',
    (data) => inMessage({ type: 'input_audio', input_audio: { type: 'text', data } }),
    'messages[0].content[0].input_audio.data',
  ],
  ['chat video', (url) => inMessage({ type: 'video_url', video_url: { url } }), 'messages[0].content[0].video_url.url'],
  [
    'chat video input',
    (data) => inMessage({ type: 'input_video', input_video: { data } }),
    'messages[0].content[0].input_video.data',
  ],
  [
    'a part of an unknown type',
    (url) => inMessage({ type: 'x', image_url: { url } }),
    'messages[0].content[0].image_url.url',
  ],
  ['Responses image', (url) => inInput({ type: 'input_image', image_url: url }), 'input[0].content[0].image_url'],
  [
    'Responses tool output',
    (url) => ({ input: [{ type: 'function_call_output', output: [{ type: 'input_image', image_url: url }] }] }),
    'input[0].output[0].image_url',
  ],
  [
    'Anthropic image',
    (url) => inMessage({ type: 'image', source: { type: 'url', url } }),
    'messages[0].content[0].source.url',
  ],
  [
    'Anthropic image that claims to be inline',
    (url) => inMessage({ type: 'image', source: { type: 'base64', url } }),
    'messages[0].content[0].source.url',
  ],
  [
    'Anthropic tool result',
    (url) => inMessage({ type: 'tool_result', content: [{ type: 'image', source: { type: 'url', url } }] }),
    'messages[0].content[0].content[0].source.url',
  ],
];

const REFUSED = [
  'file:///etc/passwd',
  'FILE:///etc/passwd',
  ' file:///etc/passwd',
  '\tfile:///etc/passwd',
  'file://localhost/etc/passwd',
  'ftp://example.org/x',
  'HTTPS://example.org/x',
  ' http://example.org/x',
  'DATA:image/png;base64,AAAA',
  ' data:image/png;base64,AAAA',
  'httpAAAA',
  '../../etc/passwd\0',
  'gopher:x',
];

describe('the media guard', () => {
  for (const [name, put, param] of PLACES) {
    it(`${name}: inline data pass, addresses do not`, () => {
      for (const fine of [PNG, 'iVBORw0KGgo=', '', 'aGVsbG8\r\n']) checkMedia(put(fine), false);
      for (const bad of [...REFUSED, REMOTE, 'http://169.254.169.254/']) {
        assert.throws(
          () => checkMedia(put(bad), false),
          (error: LlameroError) => error.code === 'permission_denied' && error.param === param,
          JSON.stringify(bad),
        );
      }
    });

    it(`${name}: remote addresses where allowed, and nothing else`, () => {
      checkMedia(put(REMOTE), true);
      checkMedia(put('http://example.org/x'), true);
      for (const bad of REFUSED) assert.throws(() => checkMedia(put(bad), true), JSON.stringify(bad));
    });
  }

  it('takes no offence at text, tools and odd shapes', () => {
    for (const body of [
      {},
      { messages: 'text', input: 'file:///etc/passwd' },
      { messages: [null, 1, 'file:///x', [], { content: 'see http://example.org and file:///x' }] },
      { messages: [{ content: [{ type: 'text', text: 'file:///etc/passwd' }, null, 'file:///x'] }] },
      {
        messages: [{ content: [{ type: 'image_url', image_url: null }, { image_url: 7 }, { image_url: { url: 7 } }] }],
      },
      { messages: [{ content: [{ type: 'document', source: { type: 'text', data: 'Plain text: with anything.' } }] }] },
      {
        messages: [{ content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }] }],
      },
      { messages: [], tools: [{ function: { parameters: { properties: { image_url: { url: 'http://x' } } } } }] },
      { messages: [{ tool_calls: [{ function: { arguments: '{"image_url":"http://x"}' } }] }] },
      { input: ['http://example.org', [1, 2, 3]] },
    ]) {
      checkMedia(body, false);
    }
  });
});

function inMessage(part: unknown): Record<string, unknown> {
  return { messages: [{ role: 'user', content: [part] }] };
}

function inInput(part: unknown): Record<string, unknown> {
  return { input: [{ role: 'user', content: [part] }] };
}
