import test from 'node:test';
import assert from 'node:assert/strict';
import { ranges } from '../lib/parts.mjs';
import { deferred } from '../lib/pool.mjs';

test('ranges cover everything', () => {
  assert.deepEqual(ranges(5, 2), [[0, 2], [2, 4], [4, 5]]);
  assert.deepEqual(ranges(0, 2), []);
});

test('a deferred promise', async () => {
  const later = deferred();
  later.resolve(1);
  assert.equal(await later.promise, 1);
});
