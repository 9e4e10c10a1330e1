import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { IncompleteBodyError, readRequestBody } from '../../../../src/server/http/request-body.ts';

it('readRequestBody rejects a request whose client has disconnected before it is called, such as during authentication', async () => {
  const request = new IncomingMessage(new Socket());
  request.destroy();
  await expect(readRequestBody(request)).rejects.toThrow(IncompleteBodyError);
});

it('readRequestBody rejects a request whose client disconnects while the body arrives', async () => {
  const request = new IncomingMessage(new Socket());
  const body = readRequestBody(request);
  request.push('{"query":');
  request.destroy(new Error('aborted'));
  await expect(body).rejects.toThrow(IncompleteBodyError);
});
