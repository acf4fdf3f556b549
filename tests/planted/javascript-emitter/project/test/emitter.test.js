'use strict';

const { test } = require('node:test');
const assert = require('node:assert');
const { Emitter } = require('..');

test('listeners are called in order', () => {
  const heard = [];
  const emitter = new Emitter().on('x', (v) => heard.push(`a${v}`)).on('x', (v) => heard.push(`b${v}`));
  assert.equal(emitter.emit('x', 1), true);
  assert.deepEqual(heard, ['a1', 'b1']);
});

test('removed listeners are not called', () => {
  const emitter = new Emitter();
  const listener = () => assert.fail();
  emitter.on('x', listener).off('x', listener);
  assert.equal(emitter.emit('x'), false);
});
