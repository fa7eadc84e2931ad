// An MQTT.js client whose events become queues: a test waits on events, each with a deadline.
'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { setTimeout: pause } = require('node:timers/promises');
const mqtt = require('mqtt');

// Nothing that works takes this long; something that does not work is told by it.
const DEADLINE_MS = 10_000;
const SESSION_EXPIRY_S = 300;

const VERSIONS = [
  { name: 'v31', protocolVersion: 3, protocolId: 'MQIsdp' },
  { name: 'v311', protocolVersion: 4, protocolId: 'MQTT' },
  { name: 'v5', protocolVersion: 5, protocolId: 'MQTT' },
];
const [V31, V311, V5] = VERSIONS;

const url = () => {
  const address = process.env.MIDGE_TEST_ADDRESS;
  assert.ok(address, 'set MIDGE_TEST_ADDRESS=host:port, or run `cargo xtask clients`');
  return `mqtt://${address}`;
};

const uniqueTopic = () => `node/${randomBytes(12).toString('hex')}`;
const uniqueClientId = () => `no${randomBytes(9).toString('hex')}`;

// For tests whose input is time itself, such as an expiry. Never to wait for an event.
const letTimePass = (milliseconds) => pause(milliseconds);

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

// Values that arrive, each given once, in order, to who asks first.
class Inbox {
  #values = [];
  #waiting = [];

  put(value) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(value);
    else this.#values.push(value);
  }

  next(what) {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    return withDeadline(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }
}

// One Network Connection of one Client Identifier. It ends with the test `t`.
class Client {
  messages = new Inbox();
  disconnects = new Inbox();

  static async connect(t, version, options = {}) {
    const client = new Client();
    await client.#connect(version, options);
    t.after(() => client.mqtt.endAsync(true));
    return client;
  }

  async #connect(version, { session = false, clientId, properties = {}, ...options }) {
    this.version = version;
    this.clientId = clientId ?? uniqueClientId();
    const expiry = session && version === V5 ? { sessionExpiryInterval: SESSION_EXPIRY_S } : {};
    this.mqtt = mqtt.connect(url(), {
      protocolVersion: version.protocolVersion,
      protocolId: version.protocolId,
      clientId: this.clientId,
      clean: !session,
      reconnectPeriod: 0,
      ...(version === V5 ? { properties: { ...expiry, ...properties } } : {}),
      ...options,
    });
    this.closed = new Promise((resolve) => this.mqtt.once('close', resolve));
    this.mqtt.on('message', (topic, payload, packet) => {
      this.messages.put({ ...packet, topic }); // with the name that a Topic Alias stands for
    });
    this.mqtt.on('disconnect', (packet) => this.disconnects.put(packet));
    const connected = new Promise((resolve, reject) => {
      this.mqtt.once('connect', resolve);
      this.mqtt.on('error', reject);
    });
    this.connack = await withDeadline(connected, 'CONNACK');
  }

  // Subscribes and returns the granted QoS or Reason Codes.
  async subscribe(filter, qos = 0, options = {}) {
    const answer = this.mqtt.subscribeAsync(filter, { qos, ...options });
    return (await withDeadline(answer, 'SUBACK')).map((granted) => granted.qos);
  }

  unsubscribe(filter) {
    return withDeadline(this.mqtt.unsubscribeAsync(filter), 'UNSUBACK');
  }

  // Publishes and, above QoS 0, waits for the acknowledgement.
  publish(topic, payload, options = {}) {
    return withDeadline(this.mqtt.publishAsync(topic, payload, options), 'acknowledgement');
  }

  // Waits until the broker has handled everything that this client sent, at QoS 0 too.
  async settle() {
    await this.publish(uniqueTopic(), '', { qos: 1 });
  }

  receive() {
    return this.messages.next('message');
  }

  // Everything before the message with this payload: so absence is seen without a wait.
  async receiveUntil(payload) {
    const before = [];
    for (;;) {
      const message = await this.receive();
      if (message.payload.toString() === payload) return before;
      before.push(message);
    }
  }

  // Ends the Network Connection without DISCONNECT.
  async cut() {
    this.mqtt.stream.destroy();
    await this.waitForEnd();
  }

  async disconnect(options = {}) {
    await withDeadline(this.mqtt.endAsync(false, options), 'end');
  }

  waitForEnd() {
    return withDeadline(this.closed, 'end of the connection');
  }
}

// Whether the suite talks to another broker, which is known to fail where this is asked.
const peerIs = (name) => process.env.MIDGE_TEST_PEER === name;

module.exports = { Client, VERSIONS, V31, V311, V5, letTimePass, peerIs, uniqueTopic };
