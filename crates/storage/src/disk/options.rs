//! How a disk engine is set up, and how its memory is divided.

use std::path::Path;

const MIB: u64 = 1 << 20;
/// How large a table of the sorted store becomes. Smaller tables make for shorter compaction steps,
/// larger ones for fewer files.
const TABLE_BYTES: u64 = 32 * MIB;
/// How many generations are kept to be read, at most: a key that none has is looked up in each.
const MOST_KEPT: usize = 6;

/// Options of a disk engine. All bounds are of this engine alone, whatever number of keyspaces
/// it holds.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Bytes of memory the engine may use for cache, buffers, pending writes and its own work.
    /// A quarter each goes to the write buffer (at most 256 MiB) and to what the last checkpoints
    /// wrote, which is kept to be read, an eighth to the cache of blocks, a thirty-second (at
    /// most 16 MiB) to writes waiting for the log; the rest is room for compaction, filters and
    /// the allocator. Anything below 16 MiB counts as that.
    pub memory_limit_bytes: u64,
    /// Bytes of blocks kept in memory, where the eighth is not wanted.
    pub cache_bytes: Option<u64>,
    /// Bytes of write buffer, both generations together, where the quarter is not wanted.
    pub buffer_bytes: Option<u64>,
    /// Bytes of what the last checkpoints wrote, kept to be read, where the quarter is not wanted;
    /// one generation at least and six at most.
    pub kept_bytes: Option<u64>,
    /// Bytes that are kept free on the volume: below them, and what the next checkpoints and the
    /// next step of a compaction need beside, puts are refused. 0 for no bound at all. `None` for
    /// the greater of 64 MiB and 2 % of the volume, but no more than 1 GiB.
    pub min_free_bytes: Option<u64>,
    /// Up to how many bytes of files reads are answered by the calling thread, as the system's
    /// page cache may be expected to hold them. `None` for half of the memory that is available
    /// when the engine is opened.
    pub inline_below_bytes: Option<u64>,
    /// How long the log may become before a checkpoint is made for its sake: replaying it is
    /// what opening after a crash takes time for.
    pub log_bytes: u64,
    /// Bytes of one file of the log, but no more than a sixteenth of the memory limit: replay
    /// reads a file at a time.
    pub segment_bytes: u64,
    /// After how many milliseconds without a write the engine tidies up: it makes a checkpoint
    /// and rewrites what holds much that was removed.
    pub quiet_after_ms: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            memory_limit_bytes: 512 * MIB,
            cache_bytes: None,
            buffer_bytes: None,
            kept_bytes: None,
            min_free_bytes: None,
            inline_below_bytes: None,
            log_bytes: 512 * MIB,
            segment_bytes: 64 * MIB,
            quiet_after_ms: 10_000,
        }
    }
}

/// [`DiskOptions`] with every figure decided.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) cache_bytes: u64,
    /// Bytes of one generation of the write buffer.
    pub(crate) generation_bytes: usize,
    /// How many generations that the store has are kept to be read.
    pub(crate) kept_generations: usize,
    pub(crate) pending_bytes: usize,
    pub(crate) min_free_bytes: u64,
    pub(crate) inline_below_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) segment_bytes: u64,
    /// Bytes of one table of the sorted store.
    pub(crate) table_bytes: u64,
    pub(crate) quiet_after_ms: u64,
}

impl DiskOptions {
    pub(crate) fn resolve(&self, dir: &Path) -> Resolved {
        let limit = self.memory_limit_bytes.max(16 * MIB);
        let buffer = self.buffer_bytes.unwrap_or_else(|| (limit / 4).min(256 * MIB));
        let kept = self.kept_bytes.unwrap_or(limit / 4);
        let volume = volume_bytes(dir);
        // On a small volume the log's spare files must not be what fills it.
        let segment_bytes = self.segment_bytes.min(limit / 16).min((volume / 64).max(MIB));
        Resolved {
            cache_bytes: self.cache_bytes.unwrap_or(limit / 8),
            generation_bytes: usize::try_from(buffer / 2).unwrap_or(usize::MAX),
            kept_generations: usize::try_from(kept / (buffer / 2).max(1))
                .unwrap_or(MOST_KEPT)
                .clamp(1, MOST_KEPT),
            pending_bytes: usize::try_from((limit / 32).min(16 * MIB)).unwrap_or(usize::MAX),
            min_free_bytes: self.min_free_bytes.unwrap_or_else(|| default_min_free(dir)),
            inline_below_bytes: self.inline_below_bytes.unwrap_or_else(|| available_memory() / 2),
            // The segment being written can never be cut. On a small volume what is checkpointed
            // at a time is little, as a checkpoint and a compaction step take as much room again.
            log_bytes: self.log_bytes.min(volume / 32).max(segment_bytes.saturating_mul(2)),
            segment_bytes,
            table_bytes: (volume / 64).clamp(4 * MIB, TABLE_BYTES),
            quiet_after_ms: self.quiet_after_ms,
        }
    }
}

/// How large the volume that holds `dir` is.
fn volume_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |stat| stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// The reserve for the volume that holds `dir`.
fn default_min_free(dir: &Path) -> u64 {
    let total = volume_bytes(dir);
    (total / 50).clamp((total / 10).min(64 * MIB), 1024 * MIB)
}

/// Memory that the page cache may grow into: what the kernel calls available, and no more than
/// the control group leaves, where there is one.
fn available_memory() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(512 * MIB, |kib| kib * 1024);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|max| max.trim().parse().ok())
        .unwrap_or(u64::MAX);
    available.min(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_divided_within_the_limit() {
        for mib in [1, 16, 64, 512, 4096, 65_536] {
            let options = DiskOptions { memory_limit_bytes: mib * MIB, ..DiskOptions::default() };
            let resolved = options.resolve(Path::new("."));
            let sum = resolved.cache_bytes
                + (2 + resolved.kept_generations as u64) * resolved.generation_bytes as u64
                + 2 * resolved.pending_bytes as u64;
            assert!(sum <= mib.max(16) * MIB * 11 / 16, "{mib} MiB: {sum}");
            assert!(resolved.generation_bytes as u64 >= MIB);
        }
    }

    #[test]
    fn the_reserve_and_the_threshold_have_sane_defaults() {
        let resolved = DiskOptions::default().resolve(Path::new("."));
        assert!((64 * MIB..=1024 * MIB).contains(&resolved.min_free_bytes));
        assert!(resolved.inline_below_bytes > MIB);
    }
}
