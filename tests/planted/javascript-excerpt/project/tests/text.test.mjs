import { test } from 'node:test';
import assert from 'node:assert';
import { oneLine } from '../src/text.mjs';

test('one line', () => {
  assert.equal(oneLine(' a\n  b '), 'a b');
});
