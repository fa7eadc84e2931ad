// MQTT.js in Node over TLS, WebSocket and both.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const mqtt = require('mqtt');
const { DEADLINE_MS, file, uniqueTopic, url, withDeadline } = require('./broker');

const LISTENERS = [
  { name: 'tls' },
  { name: 'tls_required', certificate: 'client' },
  { name: 'ws' },
  { name: 'wss' },
  { name: 'wss_required', certificate: 'client' },
];

function options(certificate, protocolVersion) {
  return {
    protocolVersion,
    ca: file('ca.pem'),
    ...(certificate ? { cert: file(`${certificate}.pem`), key: file(`${certificate}.key`) } : {}),
    reconnectPeriod: 0,
    connectTimeout: DEADLINE_MS,
  };
}

for (const { name, certificate } of LISTENERS) {
  if (!url(name)) continue;
  for (const protocolVersion of [4, 5]) {
    test(`${name}: MQTT ${protocolVersion} publishes and receives`, async (t) => {
      const topic = uniqueTopic();
      const client = await mqtt.connectAsync(url(name), options(certificate, protocolVersion));
      t.after(() => client.endAsync(true));
      await withDeadline(client.subscribeAsync(topic, { qos: 2 }), 'SUBACK');
      for (const size of [0, 1, 125, 126, 65_536, 200_000]) {
        const payload = Buffer.alloc(size, 'abc');
        const received = new Promise((resolve) => {
          client.once('message', (_, message) => resolve(message));
        });
        await withDeadline(client.publishAsync(topic, payload, { qos: size % 3 }), 'answer');
        assert.ok((await withDeadline(received, 'message')).equals(payload), `${size} bytes`);
      }
    });
  }
}

for (const name of ['tls_required', 'wss_required']) {
  if (!url(name)) continue;
  for (const certificate of [undefined, 'revoked', 'stranger']) {
    test(`${name}: the certificate ${certificate} is refused`, async () => {
      const connecting = mqtt.connectAsync(url(name), options(certificate, 5));
      await withDeadline(assert.rejects(connecting), 'refusal');
    });
  }
}
