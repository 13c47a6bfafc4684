/**
 * node:http without its ES module: importing that reads every export once, and reading `WebSocket` loads the undici inside
 * Node, which is a fifth of the time until `llamero serve` listens.
 */
export const { createServer, IncomingMessage, ServerResponse } = process.getBuiltinModule('node:http');
