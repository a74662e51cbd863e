// What a program written with go-redis does, against whatever serves on the port given.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

// Ends the program unless the two are the same.
func same(what string, found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%s: %#v instead of %#v", what, found, expected))
	}
}

func good[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func fails(what string, err error, words string) {
	if err == nil || !strings.HasPrefix(err.Error(), words) {
		panic(fmt.Sprintf("%s: %v instead of %s", what, err, words))
	}
}

func main() {
	address := "127.0.0.1:" + os.Args[1]
	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: address, Protocol: protocol})
		good(client.FlushAll(ctx).Result())
		values(client)
		expiry(client)
		pipelines(client)
		transactions(client)
		scans(client)
		refusals(client)
		pool(client)
		other := redis.NewClient(&redis.Options{
			Addr: address, Protocol: protocol, DB: 4, ClientName: "other",
		})
		good(other.Set(ctx, "only", "here", 0).Result())
		same("name", good(other.ClientGetName(ctx).Result()), "other")
		same("another database", client.Get(ctx, "only").Err(), redis.Nil)
		good(other.FlushDB(ctx).Result())
		same("closed", errors.Join(client.Close(), other.Close()), nil)
	}
}

func values(client *redis.Client) {
	same("ping", good(client.Ping(ctx).Result()), "PONG")
	same("set", good(client.Set(ctx, "a", 1, 0).Result()), "OK")
	same("incr", good(client.IncrBy(ctx, "a", 41).Result()), int64(42))
	same("float", good(client.IncrByFloat(ctx, "f", 0.5).Result()), 0.5)
	same("absent", client.Get(ctx, "none").Err(), redis.Nil)
	same("nx", good(client.SetNX(ctx, "a", 0, 0).Result()), false)
	swap := redis.SetArgs{Mode: "XX", Get: true, TTL: 100 * time.Second}
	same("xx", good(client.SetArgs(ctx, "a", "new", swap).Result()), "42")
	raw := []byte{0, 255, 13, 10}
	good(client.Set(ctx, "bytes", raw, 0).Result())
	same("bytes", bytes.Equal(good(client.Get(ctx, "bytes").Bytes()), raw), true)
	good(client.MSet(ctx, "x", "1", "y", "").Result())
	same("mget", good(client.MGet(ctx, "x", "y", "none").Result()), []any{"1", "", nil})
	same("append", good(client.Append(ctx, "y", "end").Result()), int64(3))
	same("range", good(client.GetRange(ctx, "y", -2, -1).Result()), "nd")
	same("getdel", good(client.GetDel(ctx, "x").Result()), "1")
	same("del", good(client.Del(ctx, "x", "y", "f").Result()), int64(2))
}

func expiry(client *redis.Client) {
	left := good(client.TTL(ctx, "a").Result())
	same("ttl", left > 0 && left <= 100*time.Second, true)
	same("persist", good(client.Persist(ctx, "a").Result()), true)
	same("never", good(client.TTL(ctx, "a").Result()), time.Duration(-1))
	same("expire", good(client.PExpire(ctx, "a", 20*time.Millisecond).Result()), true)
	for good(client.Exists(ctx, "a").Result()) == 1 {
	}
	same("gone", good(client.TTL(ctx, "a").Result()), time.Duration(-2))
}

func pipelines(client *redis.Client) {
	pipe := client.Pipeline()
	set, incr := pipe.Set(ctx, "p", 1, 0), pipe.Incr(ctx, "p")
	_, err := pipe.Exec(ctx)
	same("pipeline", err, nil)
	same("set", set.Val(), "OK")
	same("incr", incr.Val(), int64(2))
	many := client.Pipeline()
	for number := range make([]struct{}, 1000) {
		many.Set(ctx, fmt.Sprintf("n:%d", number), number, 0)
	}
	same("many", len(good(many.Exec(ctx))), 1000)
	same("n:999", good(client.Get(ctx, "n:999").Int()), 999)
}

func transactions(client *redis.Client) {
	var get *redis.StringCmd
	good(client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Incr(ctx, "p")
		get = pipe.Get(ctx, "p")
		return nil
	}))
	same("exec", get.Val(), "3")
	add := func(disturb bool) error {
		return client.Watch(ctx, func(tx *redis.Tx) error {
			seen := good(tx.Get(ctx, "p").Int())
			if disturb {
				good(client.Set(ctx, "p", 10, 0).Result())
			}
			_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(ctx, "p", seen+1, 0)
				return nil
			})
			return err
		}, "p")
	}
	same("a watched key changed", add(true), redis.TxFailedErr)
	same("a watched key did not", add(false), nil)
	same("p", good(client.Get(ctx, "p").Int()), 11)
}

func scans(client *redis.Client) {
	names := map[string]bool{}
	all := client.Scan(ctx, 0, "", 10).Iterator()
	for all.Next(ctx) {
		names[all.Val()] = true
	}
	same("scan", all.Err(), nil)
	same("p, bytes and a thousand more", len(names), 1002)
	same("keys", len(good(client.Keys(ctx, "n:99*").Result())), 11)
}

func refusals(client *redis.Client) {
	fails("incr", client.Incr(ctx, "bytes").Err(), "ERR value is not an integer or out of range")
	fails("hset", client.HSet(ctx, "h", "f", "v").Err(), "ERR unknown command 'hset'")
	_, err := client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, "p", "lost", 0)
		pipe.HSet(ctx, "h", "f", "v")
		return nil
	})
	fails("exec", err, "EXECABORT")
	same("p", good(client.Get(ctx, "p").Int()), 11)
	info := good(client.Info(ctx, "server").Result())
	same("info", strings.Contains(info, "redis_version:7.0.15"), true)
}

// Many at once, over the connections of the client's pool.
func pool(client *redis.Client) {
	var all sync.WaitGroup
	for range make([]struct{}, 50) {
		all.Add(1)
		go func() {
			defer all.Done()
			for range make([]struct{}, 20) {
				good(client.Incr(ctx, "all").Result())
			}
		}()
	}
	all.Wait()
	same("all", good(client.Get(ctx, "all").Int()), 1000)
}
