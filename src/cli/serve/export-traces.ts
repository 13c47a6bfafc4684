import type { Config } from '../../core/config.ts';
import { packageVersion } from '../../gateway/package-version.ts';
import type { TraceExport, TraceExportOptions } from '../../telemetry/tracing-export.ts';

/**
 * Starts the export of traces where the configuration asks for it; nothing of OpenTelemetry is loaded otherwise.
 * @throws LlameroError `invalid_options` when what it needs is not installed.
 */
export async function exportTraces(
  { telemetry: { traces } }: Config,
  onReport: TraceExportOptions['onReport'],
): Promise<TraceExport | null> {
  const { endpoint } = traces;
  if (endpoint === null) return null;
  const { startTraceExport } = await import('../../telemetry/tracing-export.ts');
  return startTraceExport({ ...traces, endpoint, version: packageVersion(), onReport });
}
