//! Many clients at once that are slow or do not read, with time in our hands: all of them end in
//! time, hold no more than they may, and leave others undisturbed.

use super::*;

/// A turn's replies and the last of them, generously.
const ONE_TURN_BYTES: u64 = (1 << 20) + (64 << 10);

/// Asks, and is answered without waiting for anybody.
async fn ask_undisturbed(stream: &mut DuplexStream) {
    let start = Instant::now();
    ask(stream, b"PING\r\n", b"+PONG\r\n").await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_at_a_byte_a_second_are_closed_in_time() {
    const CROWD: usize = 1_000;
    local(async {
        let host = Host::start();
        let (mut other, _task) = host.connect(1 << 16);
        ask_undisturbed(&mut other).await;
        for begun in [
            &b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nv"[..],
            b"GET /k HTTP/1.1\r\nHost: localhost\r\nX: y",
            b"PUT /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nv",
        ] {
            let start = Instant::now();
            let mut crowd = Vec::new();
            for _ in 0..CROWD {
                let (mut stream, task) = host.connect(1 << 10);
                stream.write_all(begun).await.expect("it reads");
                crowd.push((stream, task));
            }
            let mut open = CROWD;
            while open > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                ask_undisturbed(&mut other).await;
                let mut still = Vec::new();
                for (mut stream, task) in crowd {
                    if stream.write_all(b"x").await.is_ok() {
                        still.push((stream, task));
                    } else {
                        assert!(start.elapsed() >= Duration::from_secs(10), "it had a window");
                        task.await.expect("no panic");
                    }
                }
                open = still.len();
                crowd = still;
                let text = String::from_utf8_lossy(begun);
                assert!(start.elapsed() <= Duration::from_secs(30), "{open} are open: {text}");
            }
            assert_eq!(host.shared.registry.count(), 1);
            assert_eq!(host.shared.input.used(), 0);
        }
        ask(&mut other, b"EXISTS k\r\n", b":0\r\n").await;
    })
    .await;
}

/// Sends a million GETs for as long as it is read, and never reads.
async fn pipeline_a_million_gets(mut stream: DuplexStream) {
    let some = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(1_000);
    for _ in 0..1_000 {
        if stream.write_all(&some).await.is_err() {
            return;
        }
    }
    panic!("a million requests were read, and no reply");
}

#[tokio::test(start_paused = true)]
async fn a_million_gets_without_a_reader_hold_one_turn_each() {
    const CROWD: usize = 50;
    local(async {
        let host = Host::start();
        let (mut other, _task) = host.connect(1 << 16);
        let value = "v".repeat(10 << 10);
        let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n{value}\r\n", value.len());
        ask(&mut other, set.as_bytes(), b"+OK\r\n").await;
        let start = Instant::now();
        let mut greedy = tokio::task::JoinSet::new();
        for _ in 0..CROWD {
            greedy.spawn_local(pipeline_a_million_gets(host.connect(64 << 10).0));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut most = 0;
        while host.shared.registry.count() > 1 {
            ask_undisturbed(&mut other).await;
            let used = host.shared.output.used();
            assert!(used <= CROWD as u64 * ONE_TURN_BYTES, "{used} bytes wait");
            most = most.max(used);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(start.elapsed() <= Duration::from_secs(70), "they are closed");
        }
        assert!(most >= CROWD as u64 * (1 << 20), "what waits is counted: {most}");
        assert_eq!(host.shared.output.used(), 0, "and given back");
        while let Some(ended) = greedy.join_next().await {
            ended.expect("no panic");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_that_never_read_make_room_for_those_that_do() {
    const CROWD: usize = 100;
    local(async {
        // Room for 68 MiB of replies: fewer than what the crowd asks for.
        let host = Host::with(&[("memory_limit", "64MiB")]);
        let limit = Bounds::of(&host.shared.config).output;
        let (mut other, _task) = host.connect(64 << 10);
        for (key, length) in [("big", 10 << 10), ("long", 8 << 20)] {
            let value = "v".repeat(length);
            let set =
                format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${length}\r\n{value}\r\n", key.len());
            ask(&mut other, set.as_bytes(), b"+OK\r\n").await;
        }
        let mut greedy = tokio::task::JoinSet::new();
        for _ in 0..CROWD {
            greedy.spawn_local(pipeline_a_million_gets(host.connect(64 << 10).0));
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(host.shared.output.used() <= limit);
        }
        let evicted = host.shared.output.evicted();
        assert!(evicted >= 30, "the oldest went for the newest: {evicted}");
        assert_eq!(host.shared.registry.count() as u64, 1 + CROWD as u64 - evicted);
        let ids: Vec<u64> = host.shared.registry.clients().iter().map(|client| client.id).collect();
        let first_left = 1 + evicted + 1;
        assert_eq!(ids[1..].first(), Some(&first_left), "in the order in which they came");

        // A long reply, taken a little at a time, is given whole.
        other.write_all(b"GET long\r\n").await.expect("it reads");
        let mut left = (8 << 20) + b"$8388608\r\n\r\n".len();
        let mut some = vec![0; 256 << 10];
        while left > 0 {
            let room = left.min(some.len());
            left -= other.read(&mut some[..room]).await.expect("it goes on");
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(host.shared.output.used() <= limit);
        }
        assert!(host.shared.output.evicted() > evicted, "room was made for it");
        ask_undisturbed(&mut other).await;
        greedy.abort_all();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_over_http_makes_room_too() {
    local(async {
        let host = Host::with(&[("memory_limit", "64MiB")]);
        let (mut other, _task) = host.connect(64 << 10);
        let value = "v".repeat(8 << 20);
        let set = format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$8388608\r\n{value}\r\n");
        ask(&mut other, set.as_bytes(), b"+OK\r\n").await;
        let mut silent = Vec::new();
        // Eight fit.
        for _ in 0..9 {
            let (mut stream, task) = host.connect(64 << 10);
            let request = b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(request).await.expect("it reads");
            tokio::time::sleep(Duration::from_millis(10)).await;
            silent.push((stream, task));
        }
        let ended: Vec<bool> = silent.iter().map(|(_, task)| task.is_finished()).collect();
        assert_eq!(ended.iter().position(|ended| *ended), Some(0), "the first, {ended:?}");
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
        assert_eq!(host.shared.output.used(), 8 * (8 << 20));
        let (answer, _) = until_closed(&mut silent[0].0).await;
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() < 8 << 20, "it was cut");
        drop(silent);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(host.shared.output.used(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_asks_for_long_replies_at_once_is_given_them_one_by_one() {
    const CROWD: usize = 30;
    // As many as fit 68 MiB.
    const FIT: usize = 8;
    local(async {
        let host = Host::with(&[("memory_limit", "64MiB")]);
        let output = &host.shared.output;
        let (mut other, _task) = host.connect(64 << 10);
        let value = "v".repeat(8 << 20);
        let set = format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$8388608\r\n{value}\r\n");
        ask(&mut other, set.as_bytes(), b"+OK\r\n").await;
        for request in [&b"GET long\r\n"[..], b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
            let mut silent = Vec::new();
            for _ in 0..CROWD {
                let (mut stream, task) = host.connect(64 << 10);
                stream.write_all(request).await.expect("it reads");
                silent.push((stream, task));
            }
            let all = output.evicted() + (CROWD - FIT) as u64;
            let mut before = output.evicted();
            let mut looks = 0;
            while before < all {
                tokio::task::yield_now().await;
                let now = output.evicted();
                // More at a time would be made before those that were closed give back theirs.
                assert!(now - before <= 1, "{} were made in one go", now - before);
                let clients = host.shared.registry.clients();
                let closing = clients.iter().filter(|client| client.is_killed()).count();
                assert!(closing <= 1, "{closing} are closed, and still hold their replies");
                before = now;
                looks += 1;
                assert!(looks < 10_000, "all are answered: {before} of {all}");
            }
            ask_undisturbed(&mut other).await;
            drop(silent);
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(output.used(), 0);
        }
    })
    .await;
}
