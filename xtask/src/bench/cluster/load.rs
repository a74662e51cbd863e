//! The load generator: connections spread evenly over the nodes, one request outstanding on each.
//!
//! Holds: whoever's cluster it is, the same loop on one thread decides what is sent and when, so
//! that only the protocol differs. The first error, and a key that is not there, end a run.

use super::super::client::Reply;
use super::super::tool::Measured;
use super::grpc::Grpc;
use super::proto::Numbers;
use super::resp::Resp;
use anyhow::{Context as _, Result, bail};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Bytes of every value.
pub(super) const VALUE_BYTES: usize = 100;
/// How long a run may take beyond what it is asked to.
const GRACE: Duration = Duration::from_secs(120);

/// How the servers are spoken to.
#[derive(Clone, Debug)]
pub(super) enum Protocol {
    /// The Redis protocol; every request at level quorum.
    Shoal,
    /// The Redis protocol; `WAIT 1` goes with every set.
    Redis,
    /// etcd's gRPC.
    Etcd(Arc<Numbers>),
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Puts every key once.
    Fill,
    /// Puts keys at random for so long.
    Put(Duration),
    /// Gets keys at random for so long.
    Get(Duration),
}

/// One connection to any of them.
#[derive(Debug)]
enum Connection {
    Resp(Resp),
    Grpc(Grpc),
}

impl Connection {
    async fn open(protocol: &Protocol, port: u16) -> Result<Self> {
        Ok(match protocol {
            Protocol::Shoal => {
                let mut connection = Resp::connect(port, false).await?;
                match connection.call(&[b"CONSISTENCY", b"quorum"]).await? {
                    Reply::Status(said) if said == "OK" => Self::Resp(connection),
                    other => bail!("CONSISTENCY quorum answered {other:?}"),
                }
            }
            Protocol::Redis => Self::Resp(Resp::connect(port, true).await?),
            Protocol::Etcd(numbers) => Self::Grpc(Grpc::connect(port, Arc::clone(numbers)).await?),
        })
    }

    async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Resp(connection) => connection.put(key, value).await,
            Self::Grpc(connection) => connection.put(key, value).await,
        }
    }

    async fn get(&mut self, key: &[u8]) -> Result<()> {
        let found = match self {
            Self::Resp(connection) => connection.get(key).await?,
            Self::Grpc(connection) => connection.get(key).await?,
        };
        match found {
            Some(VALUE_BYTES) => Ok(()),
            Some(other) => bail!("a value of {other} bytes, which nobody wrote"),
            None => bail!("{} is not there", String::from_utf8_lossy(key)),
        }
    }
}

/// The connections of a number of clients.
#[derive(Debug)]
pub(super) struct Clients {
    /// After the connections, whose sockets belong to it.
    connections: Vec<Connection>,
    runtime: Runtime,
}

impl Clients {
    /// Connects `count` clients to these ports in turns, from the first on.
    pub(super) fn connect(protocol: &Protocol, ports: &[u16], count: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connections = runtime.block_on(within(GRACE, async {
            let mut connections = Vec::with_capacity(count);
            for port in ports.iter().cycle().take(count) {
                connections.push(Connection::open(protocol, *port).await?);
            }
            Ok(connections)
        }))?;
        Ok(Self { connections, runtime })
    }

    /// Does the work over `keys` keys and tells how fast.
    pub(super) fn run(&mut self, work: Work, keys: u64) -> Result<Measured> {
        let connections = std::mem::take(&mut self.connections);
        let bound = GRACE + work.takes();
        let (connections, measured) =
            self.runtime.block_on(within(bound, drive(connections, work, keys)))?;
        self.connections = connections;
        Ok(measured)
    }
}

impl Work {
    fn takes(self) -> Duration {
        match self {
            Self::Fill => Duration::ZERO,
            Self::Put(time) | Self::Get(time) => time,
        }
    }
}

async fn within<T>(bound: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(bound, work).await;
    done.with_context(|| format!("not done after {} s", bound.as_secs()))?
}

async fn drive(
    connections: Vec<Connection>,
    work: Work,
    keys: u64,
) -> Result<(Vec<Connection>, Measured)> {
    let clients = connections.len();
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for (at, connection) in connections.into_iter().enumerate() {
        let client = Client { connection, at: at as u64, clients: clients as u64, keys };
        tasks.spawn(client.work(work, begun));
    }
    let mut connections: Vec<Option<Connection>> = Vec::new();
    connections.resize_with(clients, || None);
    let mut took_us = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (client, took) = done??;
        // Back to its place, so that the same client speaks to the same node again.
        if let Some(place) = connections.get_mut(usize::try_from(client.at)?) {
            *place = Some(client.connection);
        }
        took_us.extend(took);
    }
    let elapsed_s = begun.elapsed().as_secs_f64();
    took_us.sort_unstable();
    let measured = Measured {
        rate: took_us.len() as f64 / elapsed_s,
        operations: took_us.len() as u64,
        p50_ms: percentile_ms(&took_us, 50),
        p99_ms: percentile_ms(&took_us, 99),
    };
    Ok((connections.into_iter().flatten().collect(), measured))
}

/// The smallest time that so many of a hundred did not exceed; nought of nothing.
fn percentile_ms(sorted_us: &[u32], percent: usize) -> f64 {
    let at = (sorted_us.len() * percent).div_ceil(100).saturating_sub(1);
    sorted_us.get(at).map_or(0.0, |us| f64::from(*us) / 1e3)
}

/// One connection with its share of the work.
#[derive(Debug)]
struct Client {
    connection: Connection,
    at: u64,
    clients: u64,
    keys: u64,
}

impl Client {
    /// Works to the end of the time or of its keys, and gives how long each request took.
    async fn work(mut self, work: Work, begun: Instant) -> Result<(Self, Vec<u32>)> {
        let until = begun + work.takes();
        let mut took_us = Vec::new();
        let mut next = self.at;
        let mut value = [0_u8; VALUE_BYTES];
        let mut before = Instant::now();
        loop {
            let number = match work {
                Work::Fill if next >= self.keys => break,
                Work::Put(_) | Work::Get(_) if before >= until => break,
                Work::Fill => next,
                Work::Put(_) | Work::Get(_) => fastrand::u64(..self.keys),
            };
            next += self.clients;
            let key = format!("key:{number:012}");
            match work {
                Work::Get(_) => self.connection.get(key.as_bytes()).await?,
                Work::Fill | Work::Put(_) => {
                    fastrand::fill(&mut value);
                    self.connection.put(key.as_bytes(), &value).await?;
                }
            }
            let now = Instant::now();
            let us = now.duration_since(before).as_micros();
            took_us.push(u32::try_from(us).unwrap_or(u32::MAX));
            before = now;
        }
        Ok((self, took_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn percentiles_are_of_the_requests() {
        let times: Vec<u32> = (1..=200).map(|ms| ms * 1000).collect();
        assert!((percentile_ms(&times, 50) - 100.0).abs() < 1e-9);
        assert!((percentile_ms(&times, 99) - 198.0).abs() < 1e-9);
        assert!((percentile_ms(&[7000], 99) - 7.0).abs() < 1e-9);
        assert!(percentile_ms(&[], 99).abs() < 1e-9);
    }

    /// A server for one connection that answers `said` to each of so many SETs, and tells how many
    /// it saw.
    fn server(said: &'static [u8], commands: usize) -> (u16, std::thread::JoinHandle<usize>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut answered = 0;
            let mut buffer = [0; 4096];
            while answered < commands {
                let count = stream.read(&mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                seen.extend_from_slice(&buffer[..count]);
                let whole = seen.windows(3).filter(|word| word == b"SET").count();
                while answered < whole {
                    stream.write_all(said).unwrap();
                    answered += 1;
                }
            }
            answered
        });
        (port, thread)
    }

    #[test]
    fn every_key_is_written_once() {
        let (port, thread) = server(b"+OK\r\n:2\r\n", 5);
        let mut clients = Clients::connect(&Protocol::Redis, &[port], 1).unwrap();
        let measured = clients.run(Work::Fill, 5).unwrap();
        assert_eq!(measured.operations, 5);
        assert_eq!(thread.join().unwrap(), 5);
    }

    #[test]
    fn a_set_that_reached_no_replica_is_an_error() {
        let (port, thread) = server(b"+OK\r\n:0\r\n", 1);
        let mut clients = Clients::connect(&Protocol::Redis, &[port], 1).unwrap();
        let error = clients.run(Work::Fill, 5).unwrap_err().to_string();
        assert!(error.contains("WAIT 1"), "{error}");
        drop(clients);
        assert_eq!(thread.join().unwrap(), 1);
    }
}
