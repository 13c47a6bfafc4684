#!/usr/bin/env node
import { enableCompileCache } from 'node:module';

// Before anything else is loaded, so that all of it comes from the cache.
enableCompileCache();
const { runCommandLine } = await import('./command-line.ts');
await runCommandLine(process.argv.slice(2));
