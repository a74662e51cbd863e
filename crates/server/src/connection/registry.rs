//! The list of connections: who is there, what they last did, and a switch to end each of them.
//!
//! Holds: a connection is listed from its acceptance until its task ends, however it ends. What
//! is shown of it is updated once per run of its commands, not once per command.
//!
//! Does not know: the protocol. CLIENT LIST and INFO format what stands here.

use crate::resp::figures::unix_time_ms;
use parking_lot::Mutex;
use shoal_core::version::Millis;
use shoal_node::Scope;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Not decided yet: too few bytes have come.
    #[default]
    Undecided,
    /// The Redis protocol.
    Resp,
    /// HTTP, any version.
    Http,
}

/// What is known of a connection beyond its address; its owner keeps it up to date.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it speaks.
    pub protocol: Protocol,
    /// The name it gave itself, by CLIENT SETNAME; empty for none.
    pub name: String,
    /// The name of its library, by CLIENT SETINFO; empty for none.
    pub library_name: String,
    /// The version of its library, by CLIENT SETINFO; empty for none.
    pub library_version: String,
    /// The database number or keyspace name it has selected.
    pub database: String,
    /// The version of the Redis protocol, 2 or 3.
    pub resp_version: u8,
    /// The last command, in lower case, with its subcommand where it has one: `client|list`.
    pub command: &'static str,
    /// Commands queued by MULTI, or `None` outside a transaction.
    pub queued: Option<usize>,
    /// Keys being watched.
    pub watched: usize,
    /// CLIENT NO-EVICT is on.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH is on.
    pub no_touch: bool,
    /// Bytes read but not yet executed.
    pub input_bytes: usize,
    /// Capacity of the read buffer, in bytes.
    pub input_capacity: usize,
    /// Bytes of replies not yet sent.
    pub output_bytes: usize,
    /// Commands executed.
    pub commands: u64,
    /// When it last executed something, in milliseconds since the Unix epoch.
    pub last_active_ms: Millis,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// Never reused while the process lives; CLIENT ID.
    pub id: u64,
    /// The other side: `127.0.0.1:50000`, or the socket's path and `:0` for a unix socket.
    pub address: String,
    /// This side, in the same form.
    pub local_address: String,
    /// Whether it came in through a unix socket.
    pub is_unix: bool,
    /// When it was accepted.
    pub connected: Instant,
    /// Whether it came in through the listener for clients that know the cluster.
    knows_cluster: AtomicBool,
    shown: Mutex<Shown>,
    killed: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Bytes of its replies that count against what may wait in the whole server.
    held: AtomicU64,
    /// Since when its peer took no byte of a reply; `None` while nothing waits.
    waits_since: Mutex<Option<tokio::time::Instant>>,
}

impl Client {
    /// A copy of what is shown of the connection.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.shown.lock().clone()
    }

    /// Changes what is shown. Short: others wait meanwhile.
    pub fn update(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock());
    }

    /// Whose keys its commands look at that name none.
    pub(crate) fn scope(&self) -> Scope {
        let knows_cluster = self.knows_cluster.load(Ordering::Relaxed);
        if knows_cluster { Scope::Led } else { Scope::Cluster }
    }

    /// It came in through the listener for clients that know the cluster.
    pub(crate) fn knows_cluster(&self) {
        self.knows_cluster.store(true, Ordering::Relaxed);
    }

    /// Asks the connection to end: at once if it waits for its peer, else after what it is
    /// doing.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether the connection was asked to end.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Bytes of its replies that wait to be taken and are counted.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// More of its replies wait.
    pub(super) fn holds(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `bytes` of its replies wait no longer; how many of them still counted.
    pub(super) fn lets_go(&self, bytes: u64) -> u64 {
        let less = |held: u64| Some(held - held.min(bytes));
        let before = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.unwrap_or(0).min(bytes)
    }

    /// Nothing that waits for it counts any more: it is being closed. How much that was.
    pub(super) fn forfeit(&self) -> u64 {
        self.held.swap(0, Ordering::Relaxed)
    }

    /// Since when its peer took no byte of a reply that waits.
    pub(crate) fn waits_since(&self) -> Option<tokio::time::Instant> {
        *self.waits_since.lock()
    }

    /// Notes that it has waited for its peer since then, or no longer does.
    pub(crate) fn waits(&self, since: Option<tokio::time::Instant>) {
        *self.waits_since.lock() = since;
    }

    /// Whether it asked, by CLIENT NO-EVICT, to be closed last where room is needed.
    pub(super) fn spared(&self) -> bool {
        self.shown.lock().no_evict
    }

    /// Makes the connection look at [`Client::is_killed`] and at the server's state again.
    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sets what [`Client::wake`] wakes. The caller looks at [`Client::is_killed`] afterwards,
    /// so that no kill falls between the two.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        *self.waker.lock() = Some(waker.clone());
    }
}

/// All connections of a server.
#[derive(Debug, Default)]
pub struct Registry {
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    next_id: AtomicU64,
    count: AtomicUsize,
    refused: AtomicU64,
}

impl Registry {
    /// Lists a new connection; it stays listed until the answer is dropped.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: String,
        local_address: String,
        is_unix: bool,
    ) -> Entry {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let client = Arc::new(Client {
            id,
            address,
            local_address,
            is_unix,
            connected: now,
            knows_cluster: AtomicBool::new(false),
            shown: Mutex::new(Shown {
                protocol: Protocol::Undecided,
                name: String::new(),
                library_name: String::new(),
                library_version: String::new(),
                database: "0".to_owned(),
                resp_version: 2,
                command: "NULL",
                queued: None,
                watched: 0,
                no_evict: false,
                no_touch: false,
                input_bytes: 0,
                input_capacity: 0,
                output_bytes: 0,
                commands: 0,
                last_active_ms: unix_time_ms(),
            }),
            killed: AtomicBool::new(false),
            waker: Mutex::new(None),
            held: AtomicU64::new(0),
            waits_since: Mutex::new(None),
        });
        self.count.fetch_add(1, Ordering::Relaxed);
        self.clients.lock().insert(id, Arc::clone(&client));
        Entry { registry: Arc::clone(self), client }
    }

    /// All connections, oldest first.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    /// The connection with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.clients.lock().get(&id).cloned()
    }

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many connections were ever accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed)
    }

    /// How many connections were refused because there were too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes every connection, to let it see that the server is stopping.
    pub(crate) fn wake_all(&self) {
        for client in self.clients() {
            client.wake();
        }
    }
}

/// A connection's place in the list.
#[derive(Debug)]
pub(crate) struct Entry {
    registry: Arc<Registry>,
    pub(crate) client: Arc<Client>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.clients.lock().remove(&self.client.id);
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(registry: &Arc<Registry>) -> Entry {
        registry.enter("127.0.0.1:1".to_owned(), "127.0.0.1:7400".to_owned(), false)
    }

    #[test]
    fn a_connection_is_listed_until_its_entry_goes() {
        let registry = Arc::new(Registry::default());
        let first = enter(&registry);
        let second = enter(&registry);
        assert_eq!((first.client.id, second.client.id), (1, 2));
        drop(first);
        assert_eq!(registry.count(), 1);
        assert_eq!(registry.accepted(), 2);
        assert!(registry.get(1).is_none());
        let ids: Vec<u64> = registry.clients().iter().map(|client| client.id).collect();
        assert_eq!(ids, [2]);
    }

    #[test]
    fn a_panicking_connection_leaves_the_list() {
        let registry = Arc::new(Registry::default());
        let entry = enter(&registry);
        let task = std::thread::spawn(move || {
            let _entry = entry;
            std::panic::resume_unwind(Box::new("the connection's own"));
        });
        assert!(task.join().is_err());
        assert_eq!(registry.count(), 0);
    }

    #[test]
    fn a_kill_is_seen_and_wakes() {
        let registry = Arc::new(Registry::default());
        let entry = enter(&registry);
        entry.client.set_waker(Waker::noop());
        registry.get(1).expect("it was just listed").kill();
        assert!(entry.client.is_killed());
    }
}
