"""What a program written with redis-py's RedisCluster does, against whatever serves at the address given."""

import sys

from redis.cluster import RedisCluster

host, port = sys.argv[1], int(sys.argv[2])
r = RedisCluster(host=host, port=port)
r.flushall(target_nodes=RedisCluster.PRIMARIES)

KEYS = 300
for number in range(KEYS):
    assert r.set(f"k:{number}", number)
for number in range(KEYS):
    assert r.get(f"k:{number}") == b"%d" % number
    assert r.incr(f"k:{number}") == number + 1

names = [f"k:{number}" for number in range(KEYS)]
assert r.mget_nonatomic(names) == [b"%d" % (number + 1) for number in range(KEYS)]
assert r.mset_nonatomic({f"m:{number}": number for number in range(50)})
assert r.delete(*[f"m:{number}" for number in range(50)]) == 50

# Counted and scanned on every primary, each key once.
assert r.dbsize(target_nodes=RedisCluster.PRIMARIES) == KEYS
assert r.dbsize(target_nodes=RedisCluster.ALL_NODES) == KEYS
scanned = list(r.scan_iter("*", target_nodes=RedisCluster.PRIMARIES, count=17))
assert sorted(scanned) == sorted(name.encode() for name in names), len(scanned)
listed = r.keys("*", target_nodes=RedisCluster.PRIMARIES)
assert sorted(listed) == sorted(scanned)

with r.pipeline() as pipe:
    for number in range(KEYS):
        pipe.get(f"k:{number}")
    assert pipe.execute() == [b"%d" % (number + 1) for number in range(KEYS)]
assert r.set("{t}a", 1) and r.mset({"{t}b": 2, "{t}c": 3}) and r.mget("{t}a", "{t}b", "{t}c") == [b"1", b"2", b"3"]
assert r.cluster_keyslot("{t}a") == r.keyslot("{t}b")
primaries = r.get_primaries()
assert primaries and all(node.server_type == "primary" for node in primaries)
