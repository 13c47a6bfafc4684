/** Runs the units `from` … `from + count - 1`, so many at once. @throws what the first failing unit threw, when all that run have ended. */
export async function runUnits(
  run: (unit: number) => Promise<unknown>,
  { from, count, concurrency }: { from: number; count: number; concurrency: number },
): Promise<void> {
  let next = from;
  const worker = async (): Promise<void> => {
    while (next < from + count) {
      const unit = next;
      next += 1;
      await run(unit);
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(concurrency, count) }, worker));
  const failed = ended.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
