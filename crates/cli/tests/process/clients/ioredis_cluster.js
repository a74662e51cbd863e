// What a program written with ioredis' Cluster does, against whatever serves at the address given.

const assert = require("assert");
const Redis = require("ioredis");

const KEYS = 300;

async function scan(node) {
  const found = [];
  for await (const keys of node.scanStream({ match: "*", count: 17 })) found.push(...keys);
  return found;
}

async function main() {
  const [host, port] = process.argv.slice(2);
  const cluster = new Redis.Cluster([{ host, port: Number(port) }]);
  await new Promise((resolve, reject) => cluster.once("ready", resolve).once("error", reject));
  await Promise.all(cluster.nodes("master").map((node) => node.flushall()));
  const names = [...Array(KEYS).keys()].map((number) => `k:${number}`);
  await Promise.all(names.map((name, number) => cluster.set(name, number)));
  const values = await Promise.all(names.map((name) => cluster.get(name)));
  assert.deepStrictEqual(values, names.map((_, number) => String(number)));
  const sums = await Promise.all(names.map((name) => cluster.incr(name)));
  assert.deepStrictEqual(sums, names.map((_, number) => number + 1));

  // Counted and scanned on every node, each key once.
  const masters = cluster.nodes("master");
  const counts = await Promise.all(masters.map((node) => node.dbsize()));
  assert.strictEqual(counts.reduce((sum, count) => sum + count, 0), KEYS);
  const scanned = (await Promise.all(masters.map(scan))).flat();
  assert.deepStrictEqual(scanned.sort(), names.slice().sort());
  const listed = (await Promise.all(masters.map((node) => node.keys("*")))).flat();
  assert.deepStrictEqual(listed.sort(), names.slice().sort());

  await cluster.mset("{t}a", 1, "{t}b", 2);
  assert.deepStrictEqual(await cluster.mget("{t}a", "{t}b", "{t}c"), ["1", "2", null]);
  assert.strictEqual(await cluster.del("k:0"), 1);
  assert.strictEqual(await cluster.get("k:0"), null);
  cluster.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
