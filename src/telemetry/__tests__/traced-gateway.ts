import type { ConfigInput } from '../../core/config.ts';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { createGateway } from '../../gateway/gateway.ts';
import { startTraceExport, type TraceExportOptions, type TraceExportReport } from '../tracing-export.ts';

/** A gateway whose requests are traced, ended with the scope. */
export async function traceGateway(
  config: ConfigInput,
  traces: Pick<TraceExportOptions, 'endpoint'> & Partial<TraceExportOptions>,
) {
  const reports: TraceExportReport[] = [];
  const traceExport = await startTraceExport({
    sampleRatio: 1,
    followParent: true,
    serviceName: null,
    exportInterval: 1,
    version: '0.0.0-test',
    onReport: (report) => reports.push(report),
    ...traces,
  });
  const provider = new LlamaCppProvider(config, { tracing: traceExport.tracing });
  const gateway = createGateway({
    provider,
    config: { ...provider.config, gateway: { ...provider.config.gateway, port: 'auto' } },
  });
  const { url } = await gateway.listen();
  await provider.start();
  return {
    provider,
    traceExport,
    reports,
    /** A request with its whole answer read. */
    async post(path: string, body: object, headers: Record<string, string> = {}) {
      const response = await fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
      return { status: response.status, headers: response.headers, text: await response.text() };
    },
    async [Symbol.asyncDispose]() {
      await gateway.stop();
      await provider.stop();
      await traceExport.stop();
    },
  };
}
