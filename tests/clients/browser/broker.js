// The broker as `transports.json` describes it, and what MQTT.js needs to reach each listener.
'use strict';

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { randomBytes } = require('node:crypto');

// Nothing that works takes this long; something that does not work is told by it.
const DEADLINE_MS = 10_000;

const described = () => {
  const path = process.env.MIDGE_TEST_TRANSPORTS;
  assert.ok(path, 'run `cargo xtask clients browser`: it starts a broker with every transport');
  return JSON.parse(readFileSync(path, 'utf8'));
};

// The URL of a listener, or undefined where the broker does not have it.
const url = (name) => described().listeners[name];
const file = (name) => readFileSync(join(described().directory, name));
const uniqueTopic = () => `browser/${randomBytes(12).toString('hex')}`;

// `promise`, or a failure that says what did not come in time.
async function withDeadline(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

module.exports = { DEADLINE_MS, file, uniqueTopic, url, withDeadline };
