// Wills, resumed sessions, takeover: what outlives a connection.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Client, VERSIONS, V31, V5, letTimePass, peerIs, uniqueTopic } = require('./client');

const SESSION_TAKEN_OVER = 0x8e;
const text = (message) => message.payload.toString();

for (const version of VERSIONS) {
  const on = (name, run) => test(`${version.name}: ${name}`, (t) => run(t, uniqueTopic()));

  for (const qos of [0, 1, 2]) {
    on(`a will at QoS ${qos} is sent when the connection is cut`, async (t, topic) => {
      const watcher = await Client.connect(t, version);
      await watcher.subscribe(topic, 2);
      const will = { topic, payload: Buffer.from('gone'), qos, retain: true };
      await (await Client.connect(t, version, { will })).cut();
      const message = await watcher.receive();
      assert.deepEqual([text(message), message.qos, message.retain], ['gone', qos, false]);
      const late = await Client.connect(t, version);
      await late.subscribe(topic, 2);
      assert.equal((await late.receive()).retain, true);
    });
  }

  on('no will is sent after DISCONNECT', async (t, topic) => {
    const watcher = await Client.connect(t, version);
    await watcher.subscribe(topic, 1);
    const will = { topic, payload: Buffer.from('gone'), qos: 1, retain: false };
    const client = await Client.connect(t, version, { will });
    await client.disconnect();
    // Once the same Client Identifier is connected again, the first connection is history.
    const again = await Client.connect(t, version, { clientId: client.clientId });
    await again.publish(topic, 'end', { qos: 1 });
    assert.deepEqual(await watcher.receiveUntil('end'), []);
  });

  for (const qos of [1, 2]) {
    for (const end of ['cut', 'disconnect']) {
      on(`messages queued at QoS ${qos} arrive on resume after ${end}`, async (t, topic) => {
        const first = await Client.connect(t, version, { session: true });
        await first.subscribe(`${topic}/#`, 2);
        await first[end]();
        const publisher = await Client.connect(t, version);
        const payloads = Array.from({ length: 20 }, (_, number) => `${number}`);
        for (const payload of payloads) {
          await publisher.publish(`${topic}/${payload}`, payload, { qos });
        }
        const { clientId } = first;
        const second = await Client.connect(t, version, { session: true, clientId });
        assert.ok(second.connack.sessionPresent || version === V31);
        await publisher.publish(topic, 'live', { qos });
        const received = await second.receiveUntil('live');
        assert.deepEqual(received.map(text), payloads);
        assert.ok(received.every((message) => message.qos === qos));
      });
    }
  }

  on('a clean start discards the session', async (t, topic) => {
    const first = await Client.connect(t, version, { session: true });
    await first.subscribe(topic, 1);
    await first.disconnect();
    const second = await Client.connect(t, version, { clientId: first.clientId });
    assert.ok(!second.connack.sessionPresent);
    await second.subscribe(`${topic}/end`, 1);
    await second.publish(topic, 'to nobody', { qos: 1 });
    await second.publish(`${topic}/end`, 'end', { qos: 1 });
    assert.deepEqual(await second.receiveUntil('end'), []);
  });

  on('a takeover ends the first connection and keeps the session', async (t, topic) => {
    const first = await Client.connect(t, version, { session: true });
    await first.subscribe(topic, 1);
    const { clientId } = first;
    const second = await Client.connect(t, version, { session: true, clientId });
    await first.waitForEnd();
    await second.publish(topic, 'x', { qos: 1 });
    assert.equal(text(await second.receive()), 'x');
  });
}

test('v5: a takeover is explained', { skip: peerIs('mosquitto') && 'no DISCONNECT' }, async (t) => {
  const first = await Client.connect(t, V5);
  await Client.connect(t, V5, { clientId: first.clientId });
  const { reasonCode } = await first.disconnects.next('DISCONNECT');
  assert.equal(reasonCode, SESSION_TAKEN_OVER);
});

test('v5: a Client Identifier is assigned', async (t) => {
  const first = await Client.connect(t, V5, { clientId: '' });
  const second = await Client.connect(t, V5, { clientId: '' });
  const names = [first, second].map((c) => c.connack.properties.assignedClientIdentifier);
  assert.ok(names[0] && names[1] && names[0] !== names[1]);
});

test('v5: DISCONNECT changes the Session Expiry Interval', async (t) => {
  const first = await Client.connect(t, V5, { session: true });
  const { clientId } = first;
  await first.disconnect({ properties: { sessionExpiryInterval: 0 } });
  const second = await Client.connect(t, V5, { session: true, clientId });
  assert.ok(!second.connack.sessionPresent);
});

test('v5: a session expires', async (t) => {
  const properties = { sessionExpiryInterval: 1 };
  const first = await Client.connect(t, V5, { session: true, properties });
  await first.cut();
  await letTimePass(2500);
  const second = await Client.connect(t, V5, { session: true, clientId: first.clientId });
  assert.ok(!second.connack.sessionPresent);
});

test('v5: a will carries its properties and waits for its delay', async (t) => {
  const topic = uniqueTopic();
  const watcher = await Client.connect(t, V5);
  await watcher.subscribe(topic, 1);
  const properties = {
    willDelayInterval: 2, contentType: 'text/plain', responseTopic: 'answers',
    correlationData: Buffer.from([0, 1]), payloadFormatIndicator: true,
    messageExpiryInterval: 60, userProperties: { a: ['1', '2'] },
  };
  const will = { topic, payload: Buffer.from('gone'), qos: 1, retain: false, properties };
  const client = await Client.connect(t, V5, { session: true, will });
  const began = Date.now();
  await client.cut();
  const carried = (await watcher.receive()).properties;
  assert.ok(Date.now() - began > 900, 'sent without the delay');
  assert.equal(carried.contentType, 'text/plain');
  assert.equal(carried.responseTopic, 'answers');
  assert.deepEqual([...carried.correlationData], [0, 1]);
  assert.deepEqual({ ...carried.userProperties }, { a: ['1', '2'] });
});
