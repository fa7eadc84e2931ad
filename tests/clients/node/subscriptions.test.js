// Shared, overlapping and identified subscriptions; MQTT 5 properties end to end.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const {
  Client, VERSIONS, V311, V5, letTimePass, peerIs, uniqueTopic,
} = require('./client');

const text = (message) => message.payload.toString();
const identifiers = (message) => [message.properties?.subscriptionIdentifier ?? []].flat();
const numbers = (count) => Array.from({ length: count }, (_, number) => `${number}`);

for (const version of VERSIONS) {
  for (const qos of [0, 1, 2]) {
    test(`${version.name}: a shared subscription at QoS ${qos} splits messages`, async (t) => {
      const topic = uniqueTopic();
      const members = [await Client.connect(t, version), await Client.connect(t, version)];
      for (const member of members) {
        await member.subscribe(`$share/group/${topic}/shared`, qos);
        await member.subscribe(`${topic}/end`, qos);
      }
      const publisher = await Client.connect(t, version);
      const payloads = numbers(40);
      for (const payload of payloads) {
        await publisher.publish(`${topic}/shared`, payload, { qos });
      }
      await publisher.publish(`${topic}/end`, 'end', { qos });
      const received = await Promise.all(members.map((member) => member.receiveUntil('end')));
      assert.ok(received.every((messages) => messages.length > 0), 'one member got nothing');
      assert.deepEqual(received.flat().map(text).sort(), payloads.sort());
    });
  }

  // Version 5 may send a copy for each: see the test of their identifiers.
  if (version === V5) continue;
  const differs = { skip: peerIs('mosquitto') && 'sends the QoS of the first one found' };
  test(`${version.name}: overlapping subscriptions give one copy`, differs, async (t) => {
    const topic = uniqueTopic();
    const client = await Client.connect(t, version);
    await client.subscribe(`${topic}/#`, 0);
    await client.subscribe(`${topic}/+`, 2);
    await client.subscribe(`${topic}/a`, 1);
    await client.publish(`${topic}/a`, 'x', { qos: 2 });
    await client.publish(`${topic}/a`, 'end', { qos: 2 });
    assert.deepEqual((await client.receiveUntil('end')).map((message) => message.qos), [2]);
  });
}

test('v5: each overlapping subscription is named once', async (t) => {
  const topic = uniqueTopic();
  const client = await Client.connect(t, V5);
  await client.subscribe(`${topic}/#`, 1, { properties: { subscriptionIdentifier: 1 } });
  await client.subscribe(`${topic}/+`, 1, { properties: { subscriptionIdentifier: 2 } });
  await client.publish(`${topic}/a`, 'x', { qos: 1 });
  await client.publish(`${topic}/b/c`, 'end', { qos: 1 });
  const named = (await client.receiveUntil('end')).flatMap(identifiers);
  assert.deepEqual(named.sort(), [1, 2]);
});

test('v5: No Local keeps a client from hearing itself', async (t) => {
  const topic = uniqueTopic();
  const client = await Client.connect(t, V5);
  const other = await Client.connect(t, V5);
  await client.subscribe(topic, 1, { nl: true });
  await client.publish(topic, 'mine', { qos: 1 });
  await other.publish(topic, 'theirs', { qos: 1 });
  assert.deepEqual(await client.receiveUntil('theirs'), []);
});

test('v5: properties arrive as they were sent', async (t) => {
  const topic = uniqueTopic();
  const client = await Client.connect(t, V5);
  await client.subscribe(topic, 1);
  const properties = {
    contentType: 'text/plain; charset=utf-8', responseTopic: `${topic}/answers`,
    correlationData: Buffer.from([0, 255]), payloadFormatIndicator: true,
    userProperties: { b: ['1', '3'], a: '2' },
  };
  await client.publish(topic, 'größe', { qos: 1, properties });
  const carried = (await client.receive()).properties;
  assert.equal(carried.contentType, properties.contentType);
  assert.equal(carried.responseTopic, properties.responseTopic);
  assert.deepEqual([...carried.correlationData], [0, 255]);
  assert.equal(carried.payloadFormatIndicator, true);
  assert.deepEqual({ ...carried.userProperties }, properties.userProperties);
});

test('v5: Message Expiry Interval is counted down', async (t) => {
  const topic = uniqueTopic();
  const first = await Client.connect(t, V5, { session: true });
  await first.subscribe(topic, 1);
  await first.disconnect();
  const publisher = await Client.connect(t, V5);
  const expiring = (seconds) => ({ qos: 1, properties: { messageExpiryInterval: seconds } });
  await publisher.publish(topic, 'short', expiring(1));
  await publisher.publish(topic, 'long', expiring(60));
  await letTimePass(2100);
  const second = await Client.connect(t, V5, { session: true, clientId: first.clientId });
  const message = await second.receive();
  assert.equal(text(message), 'long');
  const left = message.properties.messageExpiryInterval;
  assert.ok(left >= 50 && left <= 58, `${left} s left`);
});

test('v5: Topic Aliases of the client', async (t) => {
  const topic = uniqueTopic();
  const subscriber = await Client.connect(t, V5);
  await subscriber.subscribe(`${topic}/#`, 1);
  const publisher = await Client.connect(t, V5, { autoAssignTopicAlias: true });
  assert.ok(publisher.connack.properties.topicAliasMaximum > 0);
  for (const name of ['a', 'a', 'b', 'a', 'b']) {
    await publisher.publish(`${topic}/${name}`, name, { qos: 1 });
  }
  for (const name of ['a', 'a', 'b', 'a', 'b']) {
    const message = await subscriber.receive();
    assert.deepEqual([message.topic, text(message)], [`${topic}/${name}`, name]);
  }
});

test('v5: Topic Aliases of the broker are understood', async (t) => {
  const topic = uniqueTopic();
  const properties = { topicAliasMaximum: 2 };
  const subscriber = await Client.connect(t, V5, { properties });
  await subscriber.subscribe(`${topic}/#`, 1);
  const publisher = await Client.connect(t, V5);
  const names = ['a', 'b', 'c', 'a', 'b', 'c', 'a'];
  for (const name of names) await publisher.publish(`${topic}/${name}`, name, { qos: 1 });
  for (const name of names) {
    const message = await subscriber.receive();
    assert.deepEqual([message.topic, text(message)], [`${topic}/${name}`, name]);
  }
});

test('v5: what is above the Maximum Packet Size is not sent', async (t) => {
  const topic = uniqueTopic();
  const properties = { maximumPacketSize: 500 };
  const subscriber = await Client.connect(t, V5, { properties });
  await subscriber.subscribe(topic, 1);
  const publisher = await Client.connect(t, V5);
  await publisher.publish(topic, Buffer.alloc(501), { qos: 1 });
  await publisher.publish(topic, 'small', { qos: 1 });
  assert.deepEqual(await subscriber.receiveUntil('small'), []);
});

test('v5: request and response', async (t) => {
  const topic = uniqueTopic();
  const requester = await Client.connect(t, V5);
  const responder = await Client.connect(t, V5);
  await responder.subscribe(`${topic}/requests`, 1);
  await requester.subscribe(`${topic}/answers`, 1);
  const properties = { responseTopic: `${topic}/answers`, correlationData: Buffer.from('1') };
  await requester.publish(`${topic}/requests`, '2 + 2', { qos: 1, properties });
  const request = (await responder.receive()).properties;
  const answer = { qos: 1, properties: { correlationData: request.correlationData } };
  await responder.publish(request.responseTopic, '4', answer);
  const received = await requester.receive();
  assert.equal(text(received), '4');
  assert.equal(received.properties.correlationData.toString(), '1');
});

test('v5 to v311: older versions get the message without properties', async (t) => {
  const topic = uniqueTopic();
  const subscriber = await Client.connect(t, V311);
  await subscriber.subscribe(topic, 1);
  const publisher = await Client.connect(t, V5);
  await publisher.publish(topic, 'x', { qos: 1, properties: { userProperties: { a: 'b' } } });
  assert.equal(text(await subscriber.receive()), 'x');
});
