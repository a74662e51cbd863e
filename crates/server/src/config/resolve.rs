//! What the settings mean: the one place where words become values.
//!
//! Holds: every problem is reported, not only the first, each in a sentence that names the
//! setting, where it was written and what to write instead. A [`Resolved`] is sound: nothing
//! that uses it has to check again.

use super::DefaultValue;
use super::fields::{FIELDS, Field, Raw, field};
use super::peers::{self, PeerSettings, unless_none};
use super::raw::{Origin, Problem, Words};
use super::units::{ShownMillis, ShownSize, parse_millis, parse_size};
use crate::listener::ListenAddress;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The settings of a server, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The data directory.
    pub data: PathBuf,
    /// Where clients connect; at least one.
    pub listen: Vec<ListenAddress>,
    /// Whether `default` and the numbered keyspaces are made in memory.
    pub memory: bool,
    /// The most memory, in bytes.
    pub memory_limit: u64,
    /// Free disk space below which writes are refused, in bytes; `None` leaves it to the store.
    pub min_free: Option<u64>,
    /// The longest value, in bytes.
    pub max_value: usize,
    /// The longest command of the Redis protocol, in bytes.
    pub max_command: usize,
    /// Connections at a time.
    pub max_clients: usize,
    /// How long an HTTP connection may be idle.
    pub http_idle: Duration,
    /// How long a started request may grow slower than 1 KiB/s.
    pub slow_request: Duration,
    /// How long a client may take no byte of its replies.
    pub slow_reader: Duration,
    /// How long running requests may take to finish when the server stops.
    pub stop_grace: Duration,
    /// What the node is called.
    pub name: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// Whether addresses other than loopback are allowed without encryption.
    pub insecure_open: bool,
    /// Other nodes.
    pub peers: PeerSettings,
    /// Where clients connect that know the cluster's map; always TCP.
    pub cluster_listen: Option<ListenAddress>,
    /// Where each setting's value comes from, by name.
    origins: BTreeMap<&'static str, Origin>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A person must look.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// The setting.
    pub field: &'static Field,
    /// Its value, as it could be written.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

impl Resolved {
    /// The settings of a server at `data` that listens at `listen`, everything else at its
    /// default: for embedding and for tests.
    ///
    /// # Errors
    /// Every [`Problem`] there is.
    pub fn at(data: &Path, listen: &[&str]) -> Result<Self, Vec<Problem>> {
        let raw = Raw {
            data: Some(data.to_string_lossy().into_owned().into()),
            listen: Some(Words(listen.iter().map(|text| (*text).to_owned()).collect())),
            ..Raw::default()
        };
        resolve(&[(Origin::Flag, raw)])
    }

    /// Where the value of the setting called `name` comes from.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.origins.get(name).cloned().unwrap_or(Origin::Default)
    }

    /// Every setting with its value and where that comes from, in the order of the table.
    #[must_use]
    pub fn show(&self) -> Vec<ShownSetting> {
        let line = |field: &'static Field| ShownSetting {
            field,
            value: self.value_of(field.name),
            origin: self.origin(field.name),
        };
        FIELDS.iter().map(line).collect()
    }

    fn value_of(&self, name: &str) -> String {
        let millis = |duration: Duration| {
            ShownMillis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).to_string()
        };
        match name {
            "data" => self.data.display().to_string(),
            "listen" => self.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            "memory" => self.memory.to_string(),
            "memory_limit" => ShownSize(self.memory_limit).to_string(),
            "min_free" => {
                self.min_free.map_or("auto".to_owned(), |bytes| ShownSize(bytes).to_string())
            }
            "max_value" => ShownSize(self.max_value as u64).to_string(),
            "max_command" => ShownSize(self.max_command as u64).to_string(),
            "max_clients" => self.max_clients.to_string(),
            "http_idle" => millis(self.http_idle),
            "slow_request" => millis(self.slow_request),
            "slow_reader" => millis(self.slow_reader),
            "stop_grace" => millis(self.stop_grace),
            "name" => self.name.clone(),
            "log_format" => match self.log_format {
                LogFormat::Text => "text".to_owned(),
                LogFormat::Json => "json".to_owned(),
            },
            "log_level" => self.log_level.name().to_owned(),
            "insecure_open" => self.insecure_open.to_string(),
            "cluster_listen" => {
                self.cluster_listen.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
            }
            _ => self.peers.value_of(name).unwrap_or_default(),
        }
    }
}

/// Reads the file, if one is given, and the environment, puts `flags` above them and resolves.
///
/// # Errors
/// Every [`Problem`] there is.
pub fn load(file: Option<&Path>, flags: Raw) -> Result<Resolved, Vec<Problem>> {
    let mut layers = Vec::new();
    if let Some(path) = file {
        let raw = Raw::from_file(path).map_err(|problem| vec![problem])?;
        layers.push((Origin::File(path.to_owned()), raw));
    }
    let secret = std::env::var(peers::SECRET_VARIABLE).ok();
    // A variable that is not UTF-8 cannot be one of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    layers.push((Origin::Environment, Raw::from_environment(variables)));
    layers.push((Origin::Flag, flags));
    resolve_with(&layers, secret.as_deref())
}

/// Turns what was written into what it means. Of several layers the later one wins, setting by
/// setting.
///
/// # Errors
/// Every [`Problem`] there is.
pub fn resolve(layers: &[(Origin, Raw)]) -> Result<Resolved, Vec<Problem>> {
    resolve_with(layers, None)
}

/// As [`resolve`], with the text of a cluster secret from outside the table.
pub(super) fn resolve_with(
    layers: &[(Origin, Raw)],
    secret: Option<&str>,
) -> Result<Resolved, Vec<Problem>> {
    let mut reader = Reader { layers, problems: Vec::new(), origins: BTreeMap::new() };
    let listen = reader.list("listen", read_address);
    let peers = PeerSettings::read(&mut reader, &listen, secret);
    let mut resolved = Resolved {
        data: reader.one("data", |text| non_empty(text).map(PathBuf::from)),
        memory: reader.one("memory", read_bool),
        memory_limit: reader.one("memory_limit", |text| size(text, 64 << 20, u64::MAX)),
        min_free: reader.one("min_free", read_min_free),
        max_value: reader.one("max_value", |text| bytes(text, 1 << 10, 512 << 20)),
        max_command: reader.one("max_command", |text| bytes(text, 64 << 10, 1 << 30)),
        max_clients: reader.one("max_clients", |text| count(text, 1, 1_000_000)),
        http_idle: reader.one("http_idle", |text| duration(text, 1_000, 86_400_000)),
        slow_request: reader.one("slow_request", |text| duration(text, 1_000, 600_000)),
        slow_reader: reader.one("slow_reader", |text| duration(text, 1_000, 3_600_000)),
        stop_grace: reader.one("stop_grace", |text| duration(text, 0, 600_000)),
        name: reader.one("name", read_name),
        log_format: reader.one("log_format", read_format),
        log_level: reader.one("log_level", read_level),
        insecure_open: reader.one("insecure_open", read_bool),
        cluster_listen: peers.read_cluster_listen(&mut reader, &listen),
        listen,
        peers,
        origins: BTreeMap::new(),
    };
    let Reader { mut problems, origins, .. } = reader;
    resolved.origins = origins;
    if resolved.origin("name") == Origin::Default
        && let Some(replaced) = &resolved.peers.replace
    {
        resolved.name.clone_from(replaced);
    }
    if problems.is_empty() {
        check_together(&resolved, &mut problems);
        peers::check(&resolved, &mut problems);
    }
    if problems.is_empty() { Ok(resolved) } else { Err(problems) }
}

/// What no setting can show alone.
fn check_together(resolved: &Resolved, problems: &mut Vec<Problem>) {
    for address in resolved.listen.iter().filter(|address| !address.is_loopback()) {
        if !resolved.insecure_open {
            problems.push(Problem(format!(
                "Refusing to listen on {address}: it can be reached from other machines, and \
                 there is neither encryption nor authentication yet. Listen on 127.0.0.1, or \
                 accept that everyone who reaches the port can read and change everything with \
                 --insecure-open."
            )));
        }
    }
    for (index, address) in resolved.listen.iter().enumerate() {
        let free_port = matches!(address, ListenAddress::Tcp(address) if address.port() == 0);
        if !free_port && resolved.listen[..index].contains(address) {
            problems.push(Problem(format!(
                "The address {address} is given twice in listen; give it once."
            )));
        }
    }
    if resolved.max_command < resolved.max_value {
        problems.push(Problem(format!(
            "max_command ({}) is less than max_value ({}), so the longest values could never be \
             sent; raise max_command or lower max_value.",
            resolved.value_of("max_command"),
            resolved.value_of("max_value"),
        )));
    }
}

pub(super) struct Reader<'a> {
    layers: &'a [(Origin, Raw)],
    problems: Vec<Problem>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Reader<'_> {
    /// The words of a setting and where they were written.
    fn words(&mut self, name: &'static str) -> (Words, Origin) {
        let written =
            self.layers.iter().rev().find_map(|(origin, raw)| {
                raw.get(name).map(|words| (words.clone(), origin.clone()))
            });
        let (words, origin) = written.unwrap_or_else(|| (default_words(name), Origin::Default));
        self.origins.insert(name, origin.clone());
        (words, origin)
    }

    /// A setting of one value.
    pub(super) fn one<T: Fallback>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let (words, origin) = self.words(name);
        let result = match words.0.as_slice() {
            [word] => read(word).map_err(|why| format!("is `{word}`, but {why}")),
            _ => Err("is a list, but takes one value".to_owned()),
        };
        result.unwrap_or_else(|why| {
            self.complain(name, &origin, &why);
            T::fallback()
        })
    }

    fn list<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let (words, origin) = self.words(name);
        let mut values = Vec::new();
        if words.0.is_empty() {
            self.complain(name, &origin, "is an empty list");
        }
        for word in &words.0 {
            match read(word) {
                Ok(value) => values.push(value),
                Err(why) => {
                    self.complain(name, &origin, &format!("has `{word}`, but {why}"));
                }
            }
        }
        values
    }

    /// A setting of one value or `none`; `None` where nobody wrote it and it has no default.
    pub(super) fn maybe<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let (words, origin) = self.words(name);
        if origin == Origin::Default && words.0.is_empty() {
            return None;
        }
        let result = match words.0.as_slice() {
            [word] => unless_none(word, read).map_err(|why| format!("is `{word}`, but {why}")),
            _ => Err("is a list, but takes one value".to_owned()),
        };
        match result {
            Ok(value) => Some(value),
            Err(why) => {
                self.complain(name, &origin, &why);
                None
            }
        }
    }

    /// A setting of several values, or `none`.
    pub(super) fn some<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let values = self.list(name, |word| unless_none(word, &read));
        values.into_iter().flatten().collect()
    }

    /// Takes note of a problem.
    pub(super) fn note(&mut self, problem: String) {
        self.problems.push(Problem(problem));
    }

    fn complain(&mut self, name: &str, origin: &Origin, why: &str) {
        let range = field(name).map_or("", |field| field.range);
        self.problems.push(Problem(format!("The setting {name} ({origin}) {why}; give {range}.")));
    }
}

/// What stands in for a value that could not be read, so that the others can be read too. It is
/// never used: a problem was noted.
pub(super) trait Fallback {
    fn fallback() -> Self;
}

macro_rules! fallbacks {
    ($( $type:ty = $value:expr ),+) => {
        $( impl Fallback for $type { fn fallback() -> Self { $value } } )+
    };
}

fallbacks!(
    bool = false,
    u64 = 0,
    u16 = 0,
    Option<u64> = None,
    usize = 0,
    String = String::new(),
    PathBuf = PathBuf::new(),
    Duration = Duration::ZERO,
    LogFormat = LogFormat::Text,
    LogLevel = LogLevel::Info
);

fn default_words(name: &str) -> Words {
    match (name, field(name).map(|field| field.default)) {
        ("memory_limit", _) => Words::from(default_memory_limit()),
        ("name", _) => Words::from(host_name()),
        (_, Some(DefaultValue::Text(text))) => Words::from(text),
        _ => Words::default(),
    }
}

/// A quarter of what this process may use: the machine's memory, or its control group's.
fn default_memory_limit() -> u64 {
    const WITHOUT_PROC: u64 = 4 << 30;
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib << 10)
    });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let all = machine.unwrap_or(WITHOUT_PROC).min(group.unwrap_or(u64::MAX));
    (all / 4).max(64 << 20)
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if read_name(&name).is_ok() { name } else { "shoal".to_owned() }
}

fn non_empty(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("that is empty".to_owned()) } else { Ok(text) }
}

pub(super) fn read_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("that is neither true nor false".to_owned()),
    }
}

pub(super) fn read_address(text: &str) -> Result<ListenAddress, String> {
    ListenAddress::from_str(text).map_err(|error| error.to_string())
}

fn read_min_free(text: &str) -> Result<Option<u64>, String> {
    if text == "auto" { Ok(None) } else { size(text, 0, u64::MAX).map(Some) }
}

fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let value = parse_size(text).map_err(|error| error.to_string())?;
    in_range(value, least, most)
}

fn bytes(text: &str, least: u64, most: u64) -> Result<usize, String> {
    let value = size(text, least, most)?;
    usize::try_from(value).map_err(|_| "that is more than this machine can address".to_owned())
}

fn count(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let value = text.replace([',', '_'], "").parse();
    in_range(value.map_err(|_| "that is no whole number".to_owned())?, least, most)
}

fn duration(text: &str, least_ms: u64, most_ms: u64) -> Result<Duration, String> {
    let value = parse_millis(text).map_err(|error| error.to_string())?;
    in_range(value, least_ms, most_ms).map(Duration::from_millis)
}

fn in_range<T: Copy + PartialOrd + fmt::Display>(value: T, least: T, most: T) -> Result<T, String> {
    if value < least {
        Err("that is too little".to_owned())
    } else if value > most {
        Err("that is too much".to_owned())
    } else {
        Ok(value)
    }
}

pub(super) fn read_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("that is not a name a node can have".to_owned())
    }
}

fn read_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("there is no such format".to_owned()),
    }
}

fn read_level(text: &str) -> Result<LogLevel, String> {
    let all = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    let found = all.into_iter().find(|level| level.name() == text);
    found.ok_or_else(|| "there is no such level".to_owned())
}
