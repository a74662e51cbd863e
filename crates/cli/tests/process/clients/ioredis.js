// What a program written with ioredis does, against whatever serves on the port given.

const assert = require("assert");
const Redis = require("ioredis");

// Another client, changing what the first one watches.
async function interloper(redis) {
  const other = redis.duplicate();
  await other.set("p", 5);
  await other.quit();
}

async function main(protocol) {
  const redis = new Redis(Number(process.argv[2]), { protocol });
  await redis.flushall();
  assert.strictEqual(await redis.ping(), "PONG");
  assert.strictEqual(await redis.set("a", 1), "OK");
  assert.strictEqual(await redis.incrby("a", 41), 42);
  assert.strictEqual(await redis.set("a", 0, "NX"), null);
  assert.deepStrictEqual(await redis.getBuffer("a"), Buffer.from("42"));
  await redis.set("bytes", Buffer.from([0, 255, 13, 10]));
  assert.deepStrictEqual(await redis.getBuffer("bytes"), Buffer.from([0, 255, 13, 10]));
  assert.strictEqual(await redis.expire("a", 100), 1);
  assert.ok((await redis.ttl("a")) > 0);
  assert.deepStrictEqual(await redis.mget("a", "none"), ["42", null]);

  const results = await redis.pipeline().set("p", 1).incr("p").get("p").exec();
  assert.deepStrictEqual(results, [[null, "OK"], [null, 2], [null, "2"]]);
  const transaction = await redis.multi().incr("p").get("p").exec();
  assert.deepStrictEqual(transaction, [[null, 3], [null, "3"]]);

  // An error inside a pipeline is that command's own.
  const mixed = await redis.pipeline().incr("bytes").get("p").exec();
  assert.match(mixed[0][0].message, /ERR value is not an integer/);
  assert.deepStrictEqual(mixed[1], [null, "3"]);
  // Commands of a transaction that are sent one by one.
  await redis.multi({ pipeline: false });
  assert.strictEqual(await redis.set("p", 4), "QUEUED");
  assert.deepStrictEqual(await redis.exec(), [[null, "OK"]]);
  await redis.watch("p");
  await interloper(redis);
  assert.strictEqual(await redis.multi().set("p", "lost").exec(), null);
  assert.strictEqual(await redis.get("p"), "5");
  await assert.rejects(redis.multi().set("p", "lost").hset("h", "f", "v").exec(), /EXECABORT/);
  assert.strictEqual(await redis.set("a", 42, "XX", "EX", 100, "GET"), "42");

  const names = new Set();
  await new Promise((resolve, reject) => {
    const stream = redis.scanStream({ match: "*", count: 2 });
    stream.on("data", (keys) => keys.forEach((key) => names.add(key)));
    stream.on("end", resolve);
    stream.on("error", reject);
  });
  assert.deepStrictEqual([...names].sort(), ["a", "bytes", "p"]);

  await assert.rejects(redis.incr("bytes"), /ERR value is not an integer or out of range/);
  await assert.rejects(redis.hset("h", "f", "v"), /ERR unknown command/);
  const other = new Redis(Number(process.argv[2]), { db: 4 });
  await other.set("only", "here");
  assert.strictEqual(await redis.get("only"), null);
  assert.match(await redis.info(), /redis_version:7\.0\.15/);
  await other.flushdb();
  await Promise.all([redis.quit(), other.quit()]);
}

main(2).then(() => main(3)).catch((error) => {
  console.error(error);
  process.exit(1);
});
