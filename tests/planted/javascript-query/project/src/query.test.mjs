import test from 'node:test';
import assert from 'node:assert/strict';
import { splitAddress } from './query.mjs';

test('an address with a query', () => {
  assert.deepEqual(splitAddress('/a?b=c?d'), ['/a', 'b=c?d']);
});

test('an address without one', () => {
  assert.deepEqual(splitAddress('/a'), ['/a', '']);
});
