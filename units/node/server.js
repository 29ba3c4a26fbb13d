// Says who answers: `curl http://127.0.0.1:8000/`.
const http = require('node:http');

const server = http.createServer((request, response) => {
  const instance = process.env.RINIT_INSTANCE;
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ hello: 'world', pid: process.pid, instance }) + '\n');
});

// The socket that rinit holds.
server.listen({ fd: 3 });

// Without this Node dies at once, with every request in its hands. close() takes no new connection,
// closes the idle ones, and lets the others finish.
process.on('SIGTERM', () => server.close());
