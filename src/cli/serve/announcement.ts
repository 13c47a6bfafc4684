/** What is told once requests may come. */
export interface Announcement {
  readonly url: string;
  readonly model: string;
  /** Version of the llama-server, for people. */
  readonly engine: string;
  readonly slots: number;
  /** Tokens per slot. */
  readonly contextLength: number;
  readonly needsKey: boolean;
  readonly builtIn: boolean;
}

/** The announcement for people. */
export function announcementText(announcement: Announcement): string {
  const { url, model, engine, slots, contextLength, builtIn } = announcement;
  const lines = [
    '',
    `  llamero serves ${model} at ${url}`,
    `  engine  llama-server ${engine}`,
    `  slots   ${slots}, ${contextLength} tokens each`,
    '',
    `  ${curlLine(announcement)}`,
    '',
  ];
  if (builtIn) lines.push(...BUILT_IN_NOTE.map((line) => `  ${line}`), '');
  return `${lines.join('\n')}\n`;
}

/** Said whenever the built-in model is served. */
const BUILT_IN_NOTE = [
  'This is the built-in tiny model: its weights are random and its output is noise.',
  'To serve a real one:  llamero serve ./model.gguf   or   llamero serve user/repo:Q4_K_M',
];

/** A command for a POSIX shell that gets an answer as it stands (an API key, where one is needed, has to be filled in). */
export function curlLine({ url, needsKey }: Pick<Announcement, 'url' | 'needsKey'>): string {
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], max_tokens: 32 });
  return [
    `curl ${quote(`${url}/v1/chat/completions`)}`,
    ...(needsKey ? [`-H ${quote('Authorization: Bearer YOUR_API_KEY')}`] : []),
    `-H ${quote('Content-Type: application/json')}`,
    `-d ${quote(body)}`,
  ].join(' ');
}

/** Quotes for a POSIX shell, where that is needed; brackets of an IPv6 address are patterns to some shells. */
function quote(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
