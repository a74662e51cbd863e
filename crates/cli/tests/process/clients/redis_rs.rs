//! What a program written with the `redis` crate does: one connection, and a multiplexed one.
//!
//! Does not know: Shoal; all it has is a port.

use super::{node, port};
use redis::{
    AsyncCommands as _, Client, Commands as _, Connection, ConnectionLike as _, ExistenceCheck,
    Expiry, IntegerReplyOrNoOp, Pipeline, RedisError, ScanOptions, ServerErrorKind, SetExpiry,
    SetOptions,
};
use std::collections::BTreeSet;

/// The addresses of one database in both versions of the protocol.
fn urls(port: &str, database: u8) -> [String; 2] {
    ["resp2", "resp3"]
        .map(|version| format!("redis://127.0.0.1:{port}/{database}?protocol={version}"))
}

fn connect(url: &str) -> Connection {
    let client = Client::open(url).expect("the address is one");
    client.get_connection().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The code and the words of an error reply.
fn said(error: &RedisError) -> (&str, &str) {
    (error.code().unwrap_or_default(), error.detail().unwrap_or_default())
}

#[test]
fn clients_the_redis_crate_works_unmodified() {
    let (_folder, node) = node("redis-rs");
    for url in urls(port(&node), 0) {
        let mut redis = connect(&url);
        let _: () = redis.flushall().unwrap();
        values(&mut redis);
        expiry(&mut redis);
        pipelines(&mut redis);
        transactions(&mut redis, &mut connect(&url));
        scans(&mut redis);
        errors(&mut redis);
    }
    for url in urls(port(&node), 4) {
        let mut other = connect(&url);
        assert_eq!((other.get_db(), redis::cmd("DBSIZE").query(&mut other)), (4, Ok(0)));
        let _: () = other.set("only", "here").unwrap();
        let _: () = redis::cmd("SELECT").arg(0).query(&mut other).unwrap();
        assert_eq!(other.get("only"), Ok(None::<String>));
        let _: () = redis::cmd("SELECT").arg(4).query(&mut other).unwrap();
        assert_eq!(other.del("only"), Ok(1));
    }
    node.kill();
}

fn values(redis: &mut Connection) {
    assert_eq!(redis.ping(), Ok("PONG".to_owned()));
    assert_eq!(redis.set("a", 1), Ok("OK".to_owned()));
    assert_eq!((redis.get("a"), redis.incr("a", 41)), (Ok(1), Ok(42)));
    assert_eq!(redis.get("none"), Ok(None::<i64>));
    let absent = SetOptions::default().conditional_set(ExistenceCheck::NX);
    assert_eq!(redis.set_options("a", "lost", absent), Ok(None::<String>));
    let swap = SetOptions::default()
        .conditional_set(ExistenceCheck::XX)
        .get(true)
        .with_expiration(SetExpiry::EX(100));
    assert_eq!(redis.set_options("a", "new", swap), Ok(Some("42".to_owned())));
    assert!(matches!(redis.ttl("a"), Ok(IntegerReplyOrNoOp::IntegerReply(1..=100))));
    let bytes = vec![0_u8, 255, 13, 10];
    assert_eq!(redis.set("bytes", &bytes), Ok(true));
    assert_eq!(redis.get("bytes"), Ok(bytes));
    let _: () = redis.mset(&[("x", "1"), ("y", "")]).unwrap();
    let mixed = (Some("1".to_owned()), Some(String::new()), None::<String>);
    assert_eq!(redis.mget(&["x", "y", "none"]), Ok(mixed));
    assert_eq!(redis.incr("f", 0.5), Ok(0.5));
    assert_eq!(redis.append("y", "end"), Ok(3));
    assert_eq!(redis.getrange("y", -2, -1), Ok("nd".to_owned()));
    let _: () = redis.rename("x", "z").unwrap();
    assert_eq!(redis.get_del("z"), Ok(Some("1".to_owned())));
    assert_eq!((redis.exists("z"), redis.del(&["y", "f", "z"])), (Ok(false), Ok(2)));
}

fn expiry(redis: &mut Connection) {
    assert_eq!((redis.expire("a", 1_000), redis.expire("none", 1)), (Ok(true), Ok(false)));
    assert!(matches!(redis.pttl("a"), Ok(IntegerReplyOrNoOp::IntegerReply(1..=1_000_000))));
    assert_eq!(
        (redis.persist("a"), redis.ttl("a")),
        (Ok(true), Ok(IntegerReplyOrNoOp::ExistsButNotRelevant))
    );
    assert_eq!(redis.ttl("none"), Ok(IntegerReplyOrNoOp::NotExists));
    assert_eq!(redis.get_ex("a", Expiry::PX(20)), Ok(Some("new".to_owned())));
    while redis.exists("a").unwrap() {
        std::thread::yield_now();
    }
}

fn pipelines(redis: &mut Connection) {
    let mut pipe = redis::pipe();
    let _ = pipe.set("p", 1).ignore().incr("p", 1).get("p").get("none");
    assert_eq!(pipe.query(redis), Ok((2, "2".to_owned(), None::<String>)));
    let mut many = Pipeline::new();
    for number in 0..1_000 {
        let _ = many.set(format!("n:{number}"), number).ignore();
    }
    let _: () = many.query(redis).unwrap();
    let names: Vec<String> = (0..1_000).map(|number| format!("n:{number}")).collect();
    assert_eq!(redis.mget(&names), Ok((0..1_000).collect::<Vec<i64>>()));
    let mut atomic = redis::pipe();
    let _ = atomic.atomic().incr("p", 1).get("p");
    assert_eq!(atomic.query(redis), Ok((3, "3".to_owned())));
    // A command that fails does not undo the others of its transaction.
    let mut half = redis::pipe();
    let _ = half.atomic().set("p", "text").incr("p", 1).set("p", 3);
    assert!(half.query::<()>(redis).is_err());
    assert_eq!(redis.get("p"), Ok(3));
}

/// A watched key that `other` changes lets the transaction begin anew.
fn transactions(redis: &mut Connection, other: &mut Connection) {
    let mut tries = 0;
    let (now,): (i64,) = redis::transaction(redis, &["p"], |redis, pipe| {
        tries += 1;
        let seen: i64 = redis.get("p")?;
        if tries == 1 {
            let _: () = other.set("p", 10)?;
        }
        pipe.set("p", seen + 1).ignore().get("p").query(redis)
    })
    .unwrap();
    assert_eq!((tries, now), (2, 11));
}

fn scans(redis: &mut Connection) {
    let mut names = BTreeSet::new();
    for name in redis.scan::<String>().unwrap() {
        names.insert(name.unwrap());
    }
    assert_eq!(names.len(), 1_002, "p, bytes and a thousand more: {names:?}");
    let options = ScanOptions::default().with_pattern("n:99*").with_count(10).with_type("string");
    let some = redis.scan_options::<String>(options).unwrap().map(|name| name.unwrap());
    assert_eq!(some.collect::<BTreeSet<_>>().len(), 11);
    assert_eq!(redis.scan_match::<_, String>("nothing*").unwrap().count(), 0);
}

fn errors(redis: &mut Connection) {
    let error = redis.incr::<_, _, i64>("bytes", 1).unwrap_err();
    assert_eq!(said(&error), ("ERR", "value is not an integer or out of range"));
    assert_eq!(error.kind(), ServerErrorKind::ResponseError.into());
    let error = redis.hset::<_, _, _, ()>("h", "field", "value").unwrap_err();
    assert!(said(&error).1.starts_with("unknown command 'HSET'"), "{error}");
    let mut aborted = redis::pipe();
    let _ = aborted.atomic().set("p", "lost").hset("h", "field", "value");
    let error = aborted.query::<()>(redis).unwrap_err();
    assert!(error.to_string().starts_with("Transaction aborted"), "{error}");
    assert_eq!(redis.get("p"), Ok(11), "a transaction with an unknown command did something");
    let error = redis::cmd("SELECT").arg(99).query::<()>(redis).unwrap_err();
    assert_eq!(said(&error), ("ERR", "DB index is out of range"));
}

#[test]
fn clients_the_redis_crate_works_over_one_shared_connection() {
    let (_folder, node) = node("redis-rs-async");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    for url in urls(port(&node), 1) {
        runtime.block_on(shared_connection(&url));
    }
    node.kill();
}

/// Many tasks at once over one connection, each with its own replies.
async fn shared_connection(url: &str) {
    let client = Client::open(url).expect("the address is one");
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("FLUSHDB").query_async(&mut redis).await.unwrap();
    let tasks = (0..50).map(|task| {
        let mut redis = redis.clone();
        tokio::spawn(async move {
            for turn in 0..20 {
                let name = format!("t:{task}");
                assert_eq!(redis.set(&name, turn).await, Ok(true));
                assert_eq!(redis.get(&name).await, Ok(Some(turn)));
                let mut pipe = redis::pipe();
                let _ = pipe.atomic().incr("all", 1).ignore().set(&name, task).ignore().get(&name);
                assert_eq!(pipe.query_async(&mut redis).await, Ok((task,)));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(redis.get("all").await, Ok(1_000));
    let error = redis.incr::<_, _, i64>("none", "text").await.unwrap_err();
    assert_eq!(said(&error), ("ERR", "value is not an integer or out of range"));
    let mut names = BTreeSet::new();
    let mut found = redis.scan_match::<_, String>("t:*").await.unwrap();
    while let Some(name) = found.next_item().await {
        names.insert(name.unwrap());
    }
    assert_eq!(names.len(), 50);
}
