// Wildcards, QoS, payloads, retained messages: what every version has.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Client, VERSIONS, V5, letTimePass, uniqueTopic } = require('./client');

const text = (message) => message.payload.toString();

for (const version of VERSIONS) {
  const on = (name, run) => test(`${version.name}: ${name}`, (t) => run(t, uniqueTopic()));

  on('wildcards match what they say', async (t, topic) => {
    const client = await Client.connect(t, version);
    await client.subscribe(`${topic}/+/c`);
    await client.subscribe(`${topic}/d/#`);
    for (const name of ['a/c', 'a/b/c', '/c', 'd', 'd/e/f', 'c', 'd/end']) {
      await client.publish(`${topic}/${name}`, name);
    }
    const received = (await client.receiveUntil('d/end')).map(text);
    assert.deepEqual(received, ['a/c', '/c', 'd', 'd/e/f']);
  });

  for (const published of [0, 1, 2]) {
    for (const granted of [0, 1, 2]) {
      on(`QoS ${published} arrives at QoS ${granted} or below`, async (t, topic) => {
        const subscriber = await Client.connect(t, version);
        const publisher = await Client.connect(t, version);
        assert.deepEqual(await subscriber.subscribe(topic, granted), [granted]);
        await publisher.publish(topic, 'x', { qos: published });
        const message = await subscriber.receive();
        assert.equal(text(message), 'x');
        assert.equal(message.qos, Math.min(published, granted));
        assert.equal(message.retain, false);
      });
    }
  }

  for (const qos of [0, 1, 2]) {
    on(`messages at QoS ${qos} arrive once and in order`, async (t, topic) => {
      const subscriber = await Client.connect(t, version);
      const publisher = await Client.connect(t, version);
      await subscriber.subscribe(topic, qos);
      const payloads = Array.from({ length: 200 }, (_, number) => `${number}`);
      // Ten under way at a time: MQTT.js does not look at the broker's Receive Maximum.
      for (let at = 0; at < payloads.length; at += 10) {
        const some = payloads.slice(at, at + 10);
        await Promise.all(some.map((payload) => publisher.publish(topic, payload, { qos })));
      }
      await publisher.publish(topic, 'end', { qos });
      assert.deepEqual((await subscriber.receiveUntil('end')).map(text), payloads);
    });

    on(`large and empty payloads arrive at QoS ${qos}`, async (t, topic) => {
      const subscriber = await Client.connect(t, version);
      const publisher = await Client.connect(t, version);
      await subscriber.subscribe(topic, qos);
      const large = Buffer.alloc(900_000, 'midge');
      await publisher.publish(topic, large, { qos });
      await publisher.publish(topic, '', { qos });
      assert.ok((await subscriber.receive()).payload.equals(large));
      assert.equal((await subscriber.receive()).payload.length, 0);
    });

    on(`a retained message at QoS ${qos} is set, replaced and cleared`, async (t, topic) => {
      const publisher = await Client.connect(t, version);
      await publisher.publish(topic, 'old', { qos, retain: true });
      await publisher.publish(topic, 'new', { qos, retain: true });
      await publisher.settle();
      const first = await Client.connect(t, version);
      await first.subscribe(`${topic}/#`, 2);
      const message = await first.receive();
      assert.deepEqual([text(message), message.qos, message.retain], ['new', qos, true]);
      await publisher.publish(topic, '', { qos, retain: true });
      await publisher.settle();
      const second = await Client.connect(t, version);
      await second.subscribe(`${topic}/#`, 2);
      await publisher.publish(`${topic}/end`, 'end', { qos });
      assert.deepEqual(await second.receiveUntil('end'), []);
    });
  }

  on('topics and payloads beyond ASCII', async (t, topic) => {
    const client = await Client.connect(t, version);
    await client.subscribe(`${topic}/grün/温度/🌡`);
    await client.publish(`${topic}/grün/温度/🌡`, 'größe');
    const message = await client.receive();
    assert.equal(message.topic, `${topic}/grün/温度/🌡`);
    assert.equal(text(message), 'größe');
  });

  on('nothing arrives after UNSUBSCRIBE', async (t, topic) => {
    const client = await Client.connect(t, version);
    await client.subscribe(`${topic}/a`, 1);
    await client.subscribe(`${topic}/end`, 1);
    await client.unsubscribe(`${topic}/a`);
    await client.publish(`${topic}/a`, 'a', { qos: 1 });
    await client.publish(`${topic}/end`, 'end', { qos: 1 });
    assert.deepEqual(await client.receiveUntil('end'), []);
  });
}

for (const [handling, first, again] of [[0, 1, 1], [1, 1, 0], [2, 0, 0]]) {
  test(`v5: Retain Handling ${handling}`, async (t) => {
    const topic = uniqueTopic();
    const client = await Client.connect(t, V5);
    await client.publish(topic, 'kept', { qos: 1, retain: true });
    await client.subscribe(`${topic}/end`, 1);
    for (const [index, expected] of [first, again].entries()) {
      await client.subscribe(topic, 1, { rh: handling });
      await client.publish(`${topic}/end`, `end ${index}`, { qos: 1 });
      assert.equal((await client.receiveUntil(`end ${index}`)).length, expected);
    }
  });
}

test('v5: Retain As Published keeps the flag', async (t) => {
  const topic = uniqueTopic();
  const client = await Client.connect(t, V5);
  await client.subscribe(topic, 1, { rap: true });
  await client.publish(topic, 'x', { qos: 1, retain: true });
  assert.equal((await client.receive()).retain, true);
});

test('v5: a retained message expires', async (t) => {
  const topic = uniqueTopic();
  const client = await Client.connect(t, V5);
  const properties = { messageExpiryInterval: 1 };
  await client.publish(topic, 'short', { qos: 1, retain: true, properties });
  await letTimePass(2100);
  await client.subscribe(`${topic}/#`, 1);
  await client.publish(`${topic}/end`, 'end', { qos: 1 });
  assert.deepEqual(await client.receiveUntil('end'), []);
});
