//! Connections over pipes in memory, with time in our hands: slow, greedy and silent clients.

mod crowds;

use super::*;
use crate::config::{Origin, Raw, Words, resolve};
use shoal_node::NodeConfig;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

struct Host {
    shared: Arc<Shared>,
    folder: TempDir,
}

impl Host {
    fn with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut raw = Raw::default();
        for (name, value) in more {
            assert!(raw.set(name, Words::from(*value)), "there is no setting {name}");
        }
        let config = resolve(&[(Origin::Flag, raw)]).expect("the settings are sound");
        let node = Node::start(NodeConfig {
            data: folder.path().join("data"),
            memory_limit: 64 << 20,
            default_in_memory: true,
            ..NodeConfig::default()
        });
        let node = node.expect("it starts");
        Self { shared: Arc::new(Shared::new(node, Arc::new(config), Vec::new())), folder }
    }

    fn start() -> Self {
        Self::with(&[])
    }

    /// A client's end of a pipe that holds `room` bytes each way, and the connection's task.
    fn connect(&self, room: usize) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = duplex(room);
        let entry = self.shared.registry.enter("a:1".to_owned(), "b:2".to_owned(), false);
        let shared = Arc::clone(&self.shared);
        // A runtime for tests is not the kind that connections run on; a set of local tasks is.
        let task = tokio::task::spawn_local(async move {
            let served = serve(shared, theirs, entry, true, Arc::default()).await;
            assert!(matches!(served, Served::Ended), "nobody asked it to leave");
        });
        (ours, task)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.node.stop().expect("it stops cleanly");
        assert!(self.folder.path().exists());
    }
}

/// Runs a test among local tasks, as connections are.
async fn local<F: Future<Output = ()>>(test: F) {
    tokio::task::LocalSet::new().run_until(test).await;
}

/// Reads until the other side closes; how long that took.
async fn until_closed(stream: &mut DuplexStream) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    timeout(Duration::from_secs(100_000), read).await.expect("it closes").expect("a pipe");
    (all, start.elapsed())
}

async fn ask(stream: &mut DuplexStream, request: &[u8], reply: &[u8]) {
    stream.write_all(request).await.expect("it reads");
    let mut found = vec![0; reply.len()];
    stream.read_exact(&mut found).await.expect("it answers");
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(reply));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_may_stay_before_and_after_it_spoke() {
    local(async {
        let host = Host::start();
        let (mut stream, task) = host.connect(1 << 16);
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        ask(&mut stream, b"PING\r\n", b"+PONG\r\n").await;
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        ask(&mut stream, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n").await;
        assert!(!task.is_finished());
        drop(stream);
        task.await.expect("no panic");
        assert_eq!(host.shared.registry.count(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_trickling_request_is_cut_whatever_it_is_part_of() {
    local(async {
        let host = Host::start();
        for begun in [
            &b"G"[..],
            b"GET /key HT",
            b"*2\r\n$3\r\nGET\r\n$1000\r\nabc",
            b"GET /k HTTP/1.1\r\nHo",
        ] {
            let (mut stream, task) = host.connect(1 << 16);
            let start = Instant::now();
            stream.write_all(begun).await.expect("it reads");
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if stream.write_all(b"x").await.is_err() {
                    break;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "it is cut");
            }
            assert!(start.elapsed() >= Duration::from_secs(10));
            task.await.expect("no panic");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_long_request_that_grows_fast_enough_is_served() {
    local(async {
        let host = Host::start();
        let (mut stream, _task) = host.connect(1 << 16);
        let length = 200 << 10;
        stream
            .write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n").as_bytes())
            .await
            .expect("it reads");
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stream.write_all(&[b'v'; 2 << 10]).await.expect("it reads");
        }
        ask(&mut stream, b"\r\n", b"+OK\r\n").await;
        ask(&mut stream, b"STRLEN k\r\n", format!(":{length}\r\n").as_bytes()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_cut_and_holds_little() {
    local(async {
        let host = Host::start();
        let (mut stream, task) = host.connect(4 << 10);
        ask(&mut stream, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", b"+OK\r\n").await;
        let start = Instant::now();
        // It sends for as long as it is read, and never reads.
        let one = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let mut sent = 0;
        while stream.write_all(one).await.is_ok() {
            sent += one.len();
            assert!(sent < 1 << 20, "it is not read for ever");
        }
        assert!(start.elapsed() >= Duration::from_secs(60));
        task.await.expect("no panic");
        assert_eq!(host.shared.output.used(), 0, "what waited was given back");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn output_over_the_server_s_bound_ends_the_connection_that_asks_for_it() {
    local(async {
        let host = Host::start();
        let all = Bounds::of(&host.shared.config).output;
        let other = host.shared.registry.enter("a:2".to_owned(), "b:2".to_owned(), false);
        let all = usize::try_from(all).expect("64 bits");
        let _others = host.shared.output.hold(&other.client, all);
        let (mut stream, task) = host.connect(64);
        stream
            .write_all(b"*2\r\n$4\r\nECHO\r\n$30\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")
            .await
            .expect("it reads");
        // Little fits the pipe at once; more than the pipe holds has to wait, and may not.
        for _ in 0..4 {
            let _ = stream
                .write_all(b"*2\r\n$4\r\nECHO\r\n$30\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")
                .await;
        }
        timeout(Duration::from_secs(5), task).await.expect("at once").expect("no panic");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_exec_and_what_is_watched_counts_as_input() {
    local(async {
        let host = Host::start();
        let (mut stream, task) = host.connect(1 << 16);
        let value = "v".repeat(1_000);
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n{value}\r\n");
        let watch = |n: usize| format!("*2\r\n$5\r\nWATCH\r\n$1003\r\n{value}{n:03}\r\n");
        let all = Bounds::of(&host.shared.config).input;
        let others = host.shared.input.charge(usize::try_from(all).expect("64 bits"));
        let others = others.expect("nobody else is there");

        ask(&mut stream, b"MULTI\r\n", b"+OK\r\n").await;
        // 1,188 bytes each, of which 64 KiB are free.
        for _ in 0..55 {
            ask(&mut stream, set.as_bytes(), b"+QUEUED\r\n").await;
        }
        let full = b"-OOM too many commands wait for EXEC in the whole server\r\n";
        ask(&mut stream, set.as_bytes(), full).await;
        ask(&mut stream, set.as_bytes(), b"+QUEUED\r\n").await;
        let aborted = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
        ask(&mut stream, b"EXEC\r\n", aborted).await;
        ask(&mut stream, b"EXISTS k\r\n", b":0\r\n").await;

        // 2,262 bytes each.
        let few = 28;
        for n in 0..few {
            ask(&mut stream, watch(n).as_bytes(), b"+OK\r\n").await;
        }
        let full = b"-OOM too many keys are watched in the whole server\r\n";
        ask(&mut stream, watch(few).as_bytes(), full).await;
        ask(&mut stream, watch(0).as_bytes(), b"+OK\r\n").await;

        drop(others);
        ask(&mut stream, watch(few).as_bytes(), b"+OK\r\n").await;
        ask(&mut stream, b"MULTI\r\n", b"+OK\r\n").await;
        for _ in 0..100 {
            ask(&mut stream, set.as_bytes(), b"+QUEUED\r\n").await;
        }
        assert_eq!(host.shared.input.used() % UNCHARGED_BYTES as u64, 0, "in steps");
        assert!(host.shared.input.used() > 2 * UNCHARGED_BYTES as u64, "both are charged");
        ask(&mut stream, b"DISCARD\r\n", b"+OK\r\n").await;
        assert_eq!(host.shared.input.used(), 0);
        drop(stream);
        task.await.expect("no panic");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_http_connection_is_closed_after_five_minutes() {
    local(async {
        let host = Host::start();
        let (mut stream, task) = host.connect(1 << 16);
        stream
            .write_all(b"GET /_health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("it reads");
        let (answer, took) = until_closed(&mut stream).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        assert!(took >= Duration::from_secs(300) && took < Duration::from_secs(310), "{took:?}");
        task.await.expect("no panic");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_http_client_that_takes_nothing_is_cut() {
    local(async {
        let host = Host::start();
        let (mut stream, task) = host.connect(512);
        let start = Instant::now();
        stream
            .write_all(b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("it reads");
        task.await.expect("no panic");
        assert!(start.elapsed() >= Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(70));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_protocol_is_decided_alike_however_the_bytes_are_split() {
    local(async {
        let host = Host::start();
        for (request, begins) in [
            (&b"GET /_health HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &b"HTTP/1.1 200"[..]),
            (b"GET /_health HTTP/1.0\r\n\r\n", b"HTTP/1.0 200"),
            (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
            (b"PING\r\n", b"+PONG\r\n"),
            (b"GET none\r\n", b"$-1\r\n"),
        ] {
            for split in 1..request.len() {
                let (mut stream, _task) = host.connect(1 << 16);
                stream.write_all(&request[..split]).await.expect("it reads");
                tokio::task::yield_now().await;
                stream.write_all(&request[split..]).await.expect("it reads");
                let mut found = vec![0; begins.len()];
                stream.read_exact(&mut found).await.expect("it answers");
                let text = String::from_utf8_lossy(request);
                assert_eq!(found, begins, "{text:?} at {split}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tls_is_closed_without_a_word() {
    local(async {
        let host = Host::start();
        let (mut stream, task) = host.connect(1 << 16);
        stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("it reads");
        assert_eq!(until_closed(&mut stream).await.0, b"");
        task.await.expect("no panic");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_ends_whoever_waits() {
    local(async {
        let host = Host::start();
        let (mut reader, reading) = host.connect(1 << 16);
        ask(&mut reader, b"PING\r\n", b"+PONG\r\n").await;
        let (mut writer, writing) = host.connect(64);
        for _ in 0..20 {
            let _ = timeout(Duration::from_millis(1), writer.write_all(b"PING\r\n")).await;
        }
        let start = Instant::now();
        for client in host.shared.registry.clients() {
            client.kill();
        }
        reading.await.expect("no panic");
        writing.await.expect("no panic");
        assert!(start.elapsed() < Duration::from_secs(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stopping_server_lets_go_of_idle_connections() {
    local(async {
        let host = Host::start();
        let (mut idle, idling) = host.connect(1 << 16);
        ask(&mut idle, b"PING\r\n", b"+PONG\r\n").await;
        let (_silent, waiting) = host.connect(1 << 16);
        tokio::task::yield_now().await;
        host.shared.stopping.store(true, Ordering::SeqCst);
        host.shared.registry.wake_all();
        idling.await.expect("no panic");
        waiting.await.expect("no panic");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clients_over_the_limit_are_told() {
    local(async {
        let host = Host::with(&[("max_clients", "10")]);
        let mut held = Vec::new();
        for _ in 0..9 {
            let (mut stream, task) = host.connect(1 << 16);
            ask(&mut stream, b"PING\r\n", b"+PONG\r\n").await;
            held.push((stream, task));
        }
        let (mut tenth, _task) = host.connect(1 << 16);
        tenth.write_all(b"PING\r\n").await.expect("it reads");
        let (told, _) = until_closed(&mut tenth).await;
        assert_eq!(told, b"-ERR max number of clients reached\r\n");
        assert_eq!(host.shared.registry.refused(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_is_answered_in_order_and_in_full() {
    local(async {
        let host = Host::start();
        let (mut stream, _task) = host.connect(1 << 10);
        let (mut reading, mut writing) = tokio::io::split(&mut stream);
        let send = async {
            for n in 0..3_000 {
                let text = format!("ECHO {n}\r\n");
                writing.write_all(text.as_bytes()).await.expect("it reads");
            }
        };
        let receive = async {
            for n in 0..3_000 {
                let text = n.to_string();
                let expected = format!("${}\r\n{text}\r\n", text.len());
                let mut found = vec![0; expected.len()];
                reading.read_exact(&mut found).await.expect("it answers");
                assert_eq!(String::from_utf8_lossy(&found), expected);
            }
        };
        tokio::join!(send, receive);
    })
    .await;
}
