'use strict';

class Emitter {
  constructor() {
    this.listeners = new Map();
  }

  on(name, listener) {
    if (!this.listeners.has(name)) this.listeners.set(name, []);
    this.listeners.get(name).push(listener);
    return this;
  }

  off(name, listener) {
    const found = this.listeners.get(name) ?? [];
    const at = found.indexOf(listener);
    if (at >= 0) found.splice(at, 1);
    return this;
  }

  once(name, listener) {
    const wrapper = (...values) => {
      this.off(name, wrapper);
      listener(...values);
    };
    return this.on(name, wrapper);
  }

  emit(name, ...values) {
    const found = [...(this.listeners.get(name) ?? [])];
    for (const listener of found) listener(...values);
    return found.length > 0;
  }
}

module.exports = { Emitter };
