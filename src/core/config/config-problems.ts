import type { z } from 'zod';
import { SECRET_PATH } from './alerts-schema.ts';

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  /** The key's path, such as `engine.args[0]`; empty for the whole. */
  readonly path: string;
  /** The path, what was expected and what came. */
  readonly text: string;
}

/** Every problem in words for who wrote the configuration. Needs issues that report their input. */
export function configProblems(error: z.ZodError): ConfigProblem[] {
  return error.issues.flatMap((issue) => describeIssue(issue));
}

function describeIssue(issue: z.core.$ZodIssue): ConfigProblem[] {
  const path = pathOf(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const full = path === '' ? key : `${path}.${key}`;
      return { path: full, text: `${full}: unknown key` };
    });
  }
  const came = SECRET_PATH.test(path) ? 'what is not shown' : show(issue.input);
  const expected =
    issue.code === 'invalid_union'
      ? `expected ${issue.errors.flatMap((branch) => branch.map((inner) => expectation(inner))).join(' or ')}`
      : expectation(issue);
  return [
    {
      path,
      text: `${path || '(root)'}: ${expected.startsWith('expected') ? expected : `expected ${expected}`}, came ${came}`,
    },
  ];
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int' ? 'a whole number' : `a ${issue.expected}`;
    case 'invalid_value':
      return issue.values.map((value) => JSON.stringify(value)).join(' or ');
    case 'too_small':
      return issue.origin === 'string' ? 'a text that is not empty' : `at least ${issue.minimum}`;
    case 'too_big':
      return `at most ${issue.maximum}`;
    default:
      return issue.message.replace(/^Invalid input: expected /, '');
  }
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
