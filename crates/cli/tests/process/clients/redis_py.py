"""What a program written with redis-py does, against whatever serves on the port given."""

import sys
import time

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol)
r.flushall()

assert r.ping()
assert r.set("a", "1") and r.get("a") == b"1"
assert r.incr("a", 41) == 42 and r.decr("a") == 41
assert r.incrbyfloat("f", 0.5) == 0.5
assert r.set("a", "2", nx=True) is None and r.set("a", "2", xx=True, get=True) == b"41"
assert r.mset({"x": b"\x00\xff", "y": ""}) and r.mget("x", "y", "z") == [b"\x00\xff", b"", None]
assert r.append("y", "end") == 3 and r.getrange("y", -2, -1) == b"nd"
assert r.expire("a", 100) and 0 < r.ttl("a") <= 100 and r.persist("a") and r.ttl("a") == -1
assert r.set("soon", 1, px=20)
while r.exists("soon"):
    time.sleep(0.005)
assert sorted(r.scan_iter("*")) == [b"a", b"f", b"x", b"y"] == sorted(r.keys("*"))
assert r.rename("x", "z") and r.copy("z", "z2") and r.delete("z", "z2", "none") == 2
assert r.type("a") == b"string"
# What has expired may be counted until it is swept.
while (count := r.dbsize()) != 3:
    assert count == 4
    time.sleep(0.01)

# Its default pipeline is a transaction.
with r.pipeline() as pipe:
    pipe.set("p", 1).incr("p").get("p").get("missing")
    assert pipe.execute() == [True, 2, b"2", None]
with r.pipeline(transaction=False) as pipe:
    for number in range(1000):
        pipe.set(f"n:{number}", number)
    assert all(pipe.execute())
assert r.mget([f"n:{number}" for number in range(1000)]) == [b"%d" % n for n in range(1000)]


def transfer(pipe):
    value = int(pipe.get("p"))
    pipe.multi()
    pipe.set("p", value + 1)


assert r.transaction(transfer, "p") == [True] and r.get("p") == b"3"
with r.pipeline() as pipe:
    pipe.watch("p")
    r.set("p", "changed")
    pipe.multi()
    pipe.set("p", "lost")
    try:
        pipe.execute()
        raise SystemExit("a watched key changed and nobody noticed")
    except redis.WatchError:
        pass

try:
    r.incr("p")
    raise SystemExit("a text was incremented")
except redis.ResponseError as error:
    assert str(error) == "value is not an integer or out of range", error
try:
    r.execute_command("HSET", "h", "f", "v")
    raise SystemExit("hashes are not there")
except redis.ResponseError as error:
    assert str(error).startswith("unknown command 'HSET'"), error

assert r.info("server")["redis_version"] == "7.0.15"
assert r.config_get("maxmemory-policy") and r.client_id() > 0 and r.time()
assert r.client_setname("me") and r.client_getname() in (b"me", "me")
other = redis.Redis(port=port, db=5, protocol=protocol)
assert other.set("a", "other") and r.get("a") == b"2" and other.flushdb() and other.dbsize() == 0
