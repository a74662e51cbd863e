//! What machine and which programs the numbers come from.

use super::proc::parse_kib;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Syncs measured for the median.
const SYNCS: usize = 200;
/// Bytes appended before each of them.
const SYNC_BYTES: usize = 4096;

/// The machine, the programs and the moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// When the run began, UTC.
    pub(super) date: String,
    /// The commit measured, with a `+` when the tree had changes.
    pub(super) commit: String,
    pub(super) cores: usize,
    pub(super) cpu_model: String,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    /// Of the folder in which the servers kept their data.
    pub(super) file_system: String,
    /// Median of appending 4 KiB to a file there and syncing it.
    pub(super) fdatasync_ms: f64,
    /// How busy the machine was with other things, over the minute before.
    pub(super) load_before: f64,
    pub(super) redis: String,
    pub(super) shoal: String,
    pub(super) rustc: String,
}

impl Facts {
    /// Finds them out; `work` is where the servers will keep their data.
    pub(super) fn gather(shoal: &Path, work: &Path) -> Result<Self> {
        let cpus = read("/proc/cpuinfo");
        let load = read("/proc/loadavg");
        let load = load.split_whitespace().next().and_then(|word| word.parse().ok());
        Ok(Self {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            commit: commit(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu_model: cpu_model(&cpus).unwrap_or("unknown").to_owned(),
            memory_mib: parse_kib(&read("/proc/meminfo"), "MemTotal").unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/self/mounts"), work).to_owned(),
            fdatasync_ms: fdatasync_ms(work)?,
            load_before: load.unwrap_or(0.0),
            redis: said("redis-server", &["--version"]),
            shoal: said(&shoal.to_string_lossy(), &["--version"]),
            rustc: said("rustc", &["--version"]),
        })
    }

    /// Whether numbers of the one may stand beside numbers of the other.
    pub(super) fn is_same_machine(&self, other: &Self) -> bool {
        self.cores == other.cores
            && self.cpu_model == other.cpu_model
            && self.memory_mib == other.memory_mib
            && self.kernel == other.kernel
            && self.file_system == other.file_system
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The first line a program writes; empty when it cannot be run.
pub(super) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).current_dir(crate::root::root()).args(arguments).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    let changed = said("git", &["--no-optional-locks", "status", "--porcelain", "--", "crates"]);
    if changed.is_empty() { commit } else { format!("{commit}+") }
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

/// The kind of file system that a folder is on, out of a list of mounts.
fn file_system<'a>(mounts: &'a str, folder: &Path) -> &'a str {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounts.filter(|(point, _)| folder.starts_with(point));
    // The last of two equal ones covers the first.
    above.max_by_key(|(point, _)| point.len()).map_or("unknown", |(_, kind)| kind)
}

fn fdatasync_ms(folder: &Path) -> Result<f64> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    let bytes = [0x5a; SYNC_BYTES];
    let mut took_ms = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        took_ms.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(&path)?;
    took_ms.sort_by(f64::total_cmp);
    Ok(took_ms[SYNCS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_above_tells_the_file_system() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmpx xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/var/lib")), "ext4");
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/tmpx/y")), "xfs");
        assert_eq!(file_system("", Path::new("/a")), "unknown");
    }

    #[test]
    fn the_processor_is_named() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Fast CPU @ 3\n"), Some("Fast CPU @ 3"));
        assert_eq!(cpu_model(""), None);
    }
}
