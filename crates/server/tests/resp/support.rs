//! A node in a folder of its own, and conversations with it.

use shoal_node::{Node, NodeConfig};
use shoal_server::config::{Origin, Raw, Words, resolve};
use shoal_server::connection::Shared;
use shoal_server::resp::Local;
use std::sync::Arc;
use tempfile::TempDir;

/// A node and its folder.
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    _folder: TempDir,
}

impl Host {
    /// A node whose numbered keyspaces live in memory.
    pub(crate) fn memory() -> Self {
        Self::start(true)
    }

    /// A node whose numbered keyspaces live on disk.
    pub(crate) fn disk() -> Self {
        Self::start(false)
    }

    fn start(default_in_memory: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut raw = Raw::default();
        assert!(raw.set("memory_limit", Words::from("64MiB")), "it is a setting");
        let config = resolve(&[(Origin::Flag, raw)]).expect("the settings are sound");
        let node = Node::start(NodeConfig {
            data: folder.path().join("data"),
            memory_limit: 64 << 20,
            default_in_memory,
            ..NodeConfig::default()
        });
        let node = node.expect("it starts");
        let shared = Arc::new(Shared::new(node, Arc::new(config), Vec::new()));
        Self { shared, _folder: folder }
    }

    pub(crate) fn connect(&self) -> Client {
        Client { local: Local::new(&self.shared) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.node.stop().expect("it stops cleanly");
    }
}

/// Both kinds of node, for tests that hold for either.
pub(crate) fn both() -> [Host; 2] {
    [Host::memory(), Host::disk()]
}

/// A conversation in lines.
pub(crate) struct Client {
    pub(crate) local: Local,
}

impl Client {
    /// The replies to a line of words, with blanks in place of line breaks.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        shown(&self.local.ask(&request(line)))
    }

    /// Says each of the lines and expects its reply, both as [`Client::ask`] has them.
    #[track_caller]
    pub(crate) fn expect(&mut self, script: &[(&str, &str)]) {
        for (line, expected) in script {
            assert_eq!(self.ask(line), *expected, "{line}");
        }
    }
}

/// A line of words as a request; `''` is the empty word.
pub(crate) fn request(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    encode(&words)
}

/// Lines as one pipeline.
pub(crate) fn pipeline<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    lines.into_iter().flat_map(request).collect()
}

/// Words as a request.
pub(crate) fn encode(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Replies as they stand in scripts.
pub(crate) fn shown(replies: &[u8]) -> String {
    String::from_utf8_lossy(replies).replace("\r\n", " ").trim_end().to_owned()
}

/// What follows the first reply of `replies`, in either version of the protocol.
pub(crate) fn skip(replies: &[u8]) -> &[u8] {
    let end = replies.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    let (line, mut rest) = (&replies[..end], &replies[end + 2..]);
    let length =
        || -> i64 { std::str::from_utf8(&line[1..]).expect("digits").parse().expect("a length") };
    let parts = match line[0] {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' => 0,
        b'$' | b'=' => match usize::try_from(length()) {
            Ok(length) => {
                assert_eq!(rest.get(length..length + 2), Some(&b"\r\n"[..]), "a whole bulk string");
                return &rest[length + 2..];
            }
            Err(_) => 0,
        },
        b'*' | b'~' | b'>' => length().max(0),
        b'%' => length() * 2,
        kind => panic!("no reply begins with {:?}", char::from(kind)),
    };
    for _ in 0..parts {
        rest = skip(rest);
    }
    rest
}
