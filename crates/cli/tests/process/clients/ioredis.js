// What a program written with ioredis does, against whatever serves on the port given.

const assert = require("assert");
const Redis = require("ioredis");

async function main() {
  const redis = new Redis(Number(process.argv[2]));
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
  await Promise.all([redis.quit(), other.quit()]);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
