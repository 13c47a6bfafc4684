import { Command } from 'commander';
import { doctorChecks } from '../doctor/doctor-checks.ts';
import type { Check } from '../doctor/doctor-checks.ts';
import { gatherFacts } from '../doctor/gather-facts.ts';
import { withProgress } from '../with-progress.ts';

const MARKS = { ok: 'ok', warning: 'warning', problem: 'PROBLEM' } as const;

/** `llamero doctor [MODEL]`: what keeps llamero from working here, each with its remedy; exit code 1 if anything does. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check machine, engine, model and configuration')
    .argument(
      '[model]',
      'GGUF file, https address or Hugging Face name; else the configured one. Nothing is downloaded',
    )
    .option('--config <file>', 'configuration file (default ./llamero.yaml where it exists)')
    .option('--json', 'print facts and checks as JSON')
    .action(async (model: string | undefined, options: { config?: string; json?: boolean }) => {
      await withProgress(async (signal, onProgress) => {
        const facts = await gatherFacts({
          ...(model === undefined ? {} : { model }),
          ...(options.config === undefined ? {} : { config: options.config }),
          env: process.env,
          cwd: process.cwd(),
          signal,
          onProgress,
        });
        const checks = doctorChecks(facts);
        const text = options.json === true ? JSON.stringify({ checks, facts }, null, 2) : describeChecks(checks);
        process.stdout.write(`${text}\n`);
        if (checks.some((check) => check.status === 'problem')) process.exitCode = 1;
      });
    });
}

/** The checks as lines for people, remedies below what they mend, and a summary. Pure. */
export function describeChecks(checks: readonly Check[]): string {
  const nameWidth = Math.max(...checks.map((check) => check.name.length)) + 2;
  const markWidth = MARKS.problem.length + 2;
  const indent = ' '.repeat(markWidth + nameWidth);
  const lines = checks.flatMap((check) => {
    const message = check.message.replaceAll('\n', `\n${indent}`);
    const line = `${MARKS[check.status].padEnd(markWidth)}${check.name.padEnd(nameWidth)}${message}`;
    return check.remedy === undefined ? [line] : [line, `${indent}-> ${check.remedy}`];
  });
  const count = (status: Check['status']) => checks.filter((check) => check.status === status).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  const summary =
    problems > 0
      ? `${plural(problems, 'problem')} to solve.`
      : warnings > 0
        ? `No problems; ${plural(warnings, 'warning')}.`
        : 'All is well.';
  return [...lines, '', summary].join('\n');
}

function plural(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
