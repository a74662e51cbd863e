//! Reading what the shim recorded.

use std::ops::Range;
use std::path::Path;

/// The bytes of a record before its names and data, as `shim.c` has them.
const HEAD: usize = 48;

/// One change to the files, with the length of the trace once it was recorded.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) end: u64,
    pub(crate) change: Change,
}

/// A change. A `node` is the system's number of a file or folder; data is a range of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Create { path: String, node: u64 },
    Mkdir { path: String, node: u64 },
    Write { node: u64, at: u64, data: Range<usize> },
    Truncate { node: u64, to: u64 },
    Extend { node: u64, to: u64 },
    Zero { node: u64, at: u64, length: u64 },
    Rename { from: String, to: String },
    Unlink { path: String },
    SyncBegin { node: u64, number: u64 },
    SyncEnd { node: u64, number: u64 },
}

impl Change {
    /// Whether a crash around it is worth more trials than others.
    pub(crate) const fn is_delicate(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Extend { .. } | Self::SyncBegin { .. })
    }
}

/// A whole recording.
pub(crate) struct Trace {
    bytes: Vec<u8>,
    pub(crate) events: Vec<Event>,
}

impl Trace {
    /// Reads a recording. A record that its writer was killed in is left out.
    pub(crate) fn load(path: &Path, root: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the trace");
        let root = root.to_str().expect("a path in UTF-8");
        let (mut events, mut at) = (Vec::new(), 0);
        while let Some((change, end)) = parse(&bytes, at, root) {
            events.push(Event { end: end as u64, change });
            at = end;
        }
        Self { bytes, events }
    }

    /// The data of a write.
    pub(crate) fn data(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

fn parse(bytes: &[u8], at: usize, root: &str) -> Option<(Change, usize)> {
    let head = bytes.get(at..at + HEAD)?;
    let four = |from: usize| u32::from_le_bytes(head[from..from + 4].try_into().expect("four"));
    let eight = |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().expect("eight"));
    let (path, other) = (four(4) as usize, four(8) as usize);
    let (node, offset, length, data) = (eight(16), eight(24), eight(32), eight(40) as usize);
    let data_at = at + HEAD + path + other;
    let end = data_at + data;
    // `None` for a name that is cut off, and for one that the change does not have.
    let name = |from: usize, length: usize| {
        let name = bytes.get(from..from + length).filter(|name| !name.is_empty())?;
        let name = String::from_utf8_lossy(name).into_owned();
        Some(name.strip_prefix(root).expect("only names below the root are recorded").to_owned())
    };
    let (path, other) = (name(at + HEAD, path), name(at + HEAD + path, other));
    bytes.get(data_at..end)?;
    let change = match four(0) {
        1 => Change::Create { path: path?, node },
        2 => Change::Mkdir { path: path?, node },
        3 => Change::Write { node, at: offset, data: data_at..end },
        4 => Change::Truncate { node, to: offset },
        5 => Change::Extend { node, to: offset },
        6 => Change::Zero { node, at: offset, length },
        7 => Change::Rename { from: path?, to: other? },
        8 => Change::Unlink { path: path? },
        10 => Change::SyncBegin { node, number: length },
        11 => Change::SyncEnd { node, number: length },
        9 => panic!("a hard link was made, which the model of a disk does not have"),
        _ => panic!("system call {length} changed files, which the model of a disk does not have"),
    };
    Some((change, end))
}
