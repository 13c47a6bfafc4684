import { z } from 'zod';
import { ALERT_NAMES } from '../events.ts';
import { milliseconds, positiveMilliseconds } from './value-schemas.ts';

/** Where what the configuration says is quoted by no message: the address of a webhook often is what lets in. */
export const SECRET_PATH = /^alerts\.webhook\b/;

const alertRule = z.strictObject({
  enabled: z.boolean().optional().describe('Whether the alert is looked for at all; default true'),
  threshold: z.number().min(0).optional().describe('What its value must exceed; of the alerts that have a threshold'),
  for: milliseconds('How long its symptom must last before it fires').optional(),
  window: positiveMilliseconds('The time that is looked back upon; of the alerts that look back').optional(),
});

/** `alerts`: what is looked for, and where it is told. */
export const alertsSchema = z.strictObject({
  enabled: z.boolean().default(true).describe('Whether `llamero serve` looks for alerts itself'),
  interval: positiveMilliseconds('How often alerts are evaluated').min(50).default(15_000),
  rules: z
    .partialRecord(z.enum(ALERT_NAMES), alertRule)
    .default({})
    .describe('What is different from docs/alerts.md, by name of the alert'),
  runbook: z
    .string()
    .min(1)
    .default('docs/runbook.md')
    .describe('Address of the runbook; `#` and the name of the alert in lower case follow it'),
  webhook: z
    .strictObject({
      url: z
        .url({ protocol: /^https?$/ })
        .nullable()
        .default(null)
        .describe('Where alerts are sent that fire or are resolved; null: nowhere'),
      secretFile: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe('File of the secret that signs them; LLAMERO_ALERTS_WEBHOOK_SECRET instead of it; neither: unsigned'),
      timeout: positiveMilliseconds('How long the receiver may take to answer').default(5_000),
      retryDelay: positiveMilliseconds('Delay before the second try; it doubles with each').default(1_000),
      maxDelay: positiveMilliseconds('Longest delay between two tries').default(60_000),
      deadline: positiveMilliseconds('A message that could not be delivered for this long is given up').default(
        900_000,
      ),
      maxQueue: z
        .number()
        .int()
        .min(1)
        .max(10_000)
        .default(100)
        .describe('Messages that may wait; beyond that the oldest is dropped'),
    })
    .prefault({}),
});
