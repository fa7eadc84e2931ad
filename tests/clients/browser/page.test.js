// MQTT.js in a real browser: Debian's Chromium, without a window, on a page of localhost.
'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { createServer } = require('node:http');
const { once } = require('node:events');
const { readFileSync } = require('node:fs');
const { chromium } = require('playwright-core');
const { DEADLINE_MS, uniqueTopic, url } = require('./broker');

const PROGRAM = '/usr/bin/chromium';
// No sandbox: the tests may run as root, and the pages are ours. Nothing but the page is loaded.
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let browser;
let server;
let page;

function serve(request, response) {
  if (request.url === '/mqtt.js') {
    response.setHeader('Content-Type', 'text/javascript');
    response.end(readFileSync(require.resolve('mqtt/dist/mqtt.min')));
  } else {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>MQTT</title><script src="/mqtt.js"></script>');
  }
}

before(async () => {
  server = createServer(serve).listen(0, '127.0.0.1');
  await once(server, 'listening');
  browser = await chromium.launch({ executablePath: PROGRAM, headless: true, args: ARGUMENTS });
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  await page.goto(`http://localhost:${server.address().port}/`);
});

after(async () => {
  await browser?.close();
  server?.close();
});

// What runs in the page: connects, and sends itself a message of each size.
async function talk({ url: broker, topic, protocolVersion, sizes }) {
  const client = await window.mqtt.connectAsync(broker, { protocolVersion, reconnectPeriod: 0 });
  const received = [];
  const arrived = [];
  client.on('message', (_, payload) => {
    received.push(payload);
    arrived.shift()?.();
  });
  await client.subscribeAsync(topic, { qos: 2 });
  for (const size of sizes) {
    const payload = 'x'.repeat(size);
    const next = new Promise((resolve) => arrived.push(resolve));
    await client.publishAsync(topic, payload, { qos: size % 3 });
    await next;
  }
  await client.endAsync();
  return received.map((payload) => payload.length);
}

// What runs in the page: loses its connection, and is told again without doing anything.
async function reconnect({ url: broker, topic }) {
  const client = window.mqtt.connect(broker, {
    protocolVersion: 5,
    clean: false,
    clientId: topic.replace(/\W/g, '').slice(-20),
    properties: { sessionExpiryInterval: 60 },
    reconnectPeriod: 50,
  });
  const event = (name) => new Promise((resolve) => client.once(name, (...all) => resolve(all)));
  await event('connect');
  await client.subscribeAsync(topic, { qos: 1 });
  const closed = event('close');
  const again = event('connect');
  client.stream.destroy();
  await closed;
  const [connack] = await again;
  const message = event('message');
  await client.publishAsync(topic, 'after', { qos: 1 });
  const [, payload] = await message;
  await client.endAsync();
  return { sessionPresent: connack.sessionPresent, payload: payload.toString() };
}

for (const name of ['ws', 'wss']) {
  if (!url(name)) continue;
  for (const protocolVersion of [4, 5]) {
    test(`${name}: a page publishes and receives by MQTT ${protocolVersion}`, async () => {
      const sizes = [0, 1, 125, 126, 65_536, 200_000];
      const topic = uniqueTopic();
      const received = await page.evaluate(talk, { url: url(name), topic, protocolVersion, sizes });
      assert.deepEqual(received, sizes);
    });
  }

  test(`${name}: a page that loses its connection comes back to its session`, async () => {
    const result = await page.evaluate(reconnect, { url: url(name), topic: uniqueTopic() });
    assert.deepEqual(result, { sessionPresent: true, payload: 'after' });
  });
}

test('a page of another origin is not let in where origins are named', async (t) => {
  if (!url('ws_origin')) return t.skip('the broker has no such listener');
  const outcome = await page.evaluate(
    (broker) => new Promise((resolve) => {
      const socket = new WebSocket(broker, 'mqtt');
      socket.onopen = () => resolve('open');
      socket.onerror = () => resolve('refused');
    }),
    url('ws_origin'),
  );
  assert.equal(outcome, 'refused');
});
