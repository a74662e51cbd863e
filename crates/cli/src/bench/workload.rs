//! What the load writer sends: which commands, on which keys, with which values.
//!
//! Holds: a command is built straight into the output buffer, with nothing allocated; keys are
//! `prefix` and twelve digits, values are random bytes that do not compress.
//! Does not know: sockets, time.

use super::zipf::Zipf;
use clap::ValueEnum;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Random bytes that values are cut from, beyond the longest value.
const POOL_BYTES: usize = 1 << 20;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Op {
    /// GET of one key
    Get,
    /// SET of one key
    Set,
    /// GET and SET, see --read-ratio
    Mixed,
    /// INCR of one key
    Incr,
    /// MGET of --batch keys
    Mget,
    /// MSET of --batch keys
    Mset,
    /// PING
    Ping,
    /// DEL of one key
    Del,
}

/// One kind of command on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Expects a string or nil.
    Get,
    /// Expects a status.
    Set,
    /// Expects an integer.
    Incr,
    /// Expects a list.
    Mget,
    /// Expects a status.
    Mset,
    /// Expects a status.
    Ping,
    /// Expects an integer.
    Del,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub(crate) const ALL: [Self; 7] =
        [Self::Get, Self::Set, Self::Incr, Self::Mget, Self::Mset, Self::Ping, Self::Del];

    /// The command's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Incr => "incr",
            Self::Mget => "mget",
            Self::Mset => "mset",
            Self::Ping => "ping",
            Self::Del => "del",
        }
    }

    /// Whether a reply that begins with `first` fits.
    pub(crate) const fn fits(self, first: u8) -> bool {
        match self {
            Self::Get => first == b'$' || first == b'_',
            Self::Set | Self::Mset | Self::Ping => first == b'+',
            Self::Incr | Self::Del => first == b':',
            Self::Mget => first == b'*',
        }
    }
}

/// How keys are chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Distribution {
    /// Each key as likely as the next.
    Uniform,
    /// A few keys are hot, by Zipf's law with this exponent.
    Zipf(f64),
    /// One after the other, round and round.
    Sequential,
    /// Always the same key.
    Same,
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            None if text == "sequential" => Ok(Self::Sequential),
            None if text == "same" => Ok(Self::Same),
            None if text == "zipf" => Ok(Self::Zipf(0.99)),
            Some(("zipf", exponent)) => match exponent.parse::<f64>() {
                Ok(exponent) if exponent > 0.0 && exponent <= 10.0 => Ok(Self::Zipf(exponent)),
                _ => Err("zipf wants an exponent above 0 and up to 10, as in zipf:0.99".to_owned()),
            },
            _ => Err("write uniform, zipf:EXPONENT, sequential or same".to_owned()),
        }
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Self::Sequential => f.write_str("sequential"),
            Self::Same => f.write_str("same"),
        }
    }
}

/// The whole plan, shared by the threads.
#[derive(Debug)]
pub(crate) struct Workload {
    /// What is measured.
    pub(crate) op: Op,
    /// The share of reads in `mixed`, 0.0 to 1.0.
    pub(crate) read_ratio: f64,
    /// Keys per MGET and MSET.
    pub(crate) batch: u32,
    /// How many different keys there are.
    pub(crate) keys: u64,
    /// How they are chosen.
    pub(crate) distribution: Distribution,
    /// Bytes of a value.
    pub(crate) value_bytes: RangeInclusive<usize>,
    /// What keys begin with.
    pub(crate) prefix: String,
    /// The next key of a sequential run.
    pub(crate) next: AtomicU64,
}

/// One thread's source of commands.
pub(crate) struct Generator<'a> {
    workload: &'a Workload,
    rng: fastrand::Rng,
    zipf: Option<Zipf>,
    pool: Vec<u8>,
    /// Everything of a key argument but its digits: `$16\r\nkey:`.
    key_head: Vec<u8>,
}

impl<'a> Generator<'a> {
    /// A source whose choices follow from the seed.
    pub(crate) fn new(workload: &'a Workload, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut pool = vec![0; POOL_BYTES + workload.value_bytes.end()];
        rng.fill(&mut pool);
        let zipf = match workload.distribution {
            Distribution::Zipf(exponent) => Some(Zipf::new(workload.keys, exponent)),
            _ => None,
        };
        let key_head = format!("${}\r\n{}", workload.prefix.len() + 12, workload.prefix);
        Self { workload, rng, zipf, pool, key_head: key_head.into_bytes() }
    }

    /// Appends one command and says which it is.
    pub(crate) fn command(&mut self, out: &mut Vec<u8>) -> Kind {
        let kind = self.kind();
        match kind {
            Kind::Get => self.keyed(b"*2\r\n$3\r\nGET\r\n", out),
            Kind::Incr => self.keyed(b"*2\r\n$4\r\nINCR\r\n", out),
            Kind::Del => self.keyed(b"*2\r\n$3\r\nDEL\r\n", out),
            Kind::Ping => out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"),
            Kind::Set => {
                self.keyed(b"*3\r\n$3\r\nSET\r\n", out);
                self.value(out);
            }
            Kind::Mget => {
                many(1 + self.workload.batch, b"$4\r\nMGET\r\n", out);
                for _ in 0..self.workload.batch {
                    self.key(out);
                }
            }
            Kind::Mset => {
                many(1 + 2 * self.workload.batch, b"$4\r\nMSET\r\n", out);
                for _ in 0..self.workload.batch {
                    self.key(out);
                    self.value(out);
                }
            }
        }
        kind
    }

    fn kind(&mut self) -> Kind {
        match self.workload.op {
            Op::Get => Kind::Get,
            Op::Set => Kind::Set,
            Op::Mixed if self.rng.f64() < self.workload.read_ratio => Kind::Get,
            Op::Mixed => Kind::Set,
            Op::Incr => Kind::Incr,
            Op::Mget => Kind::Mget,
            Op::Mset => Kind::Mset,
            Op::Ping => Kind::Ping,
            Op::Del => Kind::Del,
        }
    }

    fn keyed(&mut self, head: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(head);
        self.key(out);
    }

    fn key(&mut self, out: &mut Vec<u8>) {
        let mut number = match (&self.zipf, &self.workload.distribution) {
            (Some(zipf), _) => zipf.draw(|| self.rng.f64()),
            (None, Distribution::Sequential) => {
                self.workload.next.fetch_add(1, Ordering::Relaxed) % self.workload.keys
            }
            (None, Distribution::Same) => 0,
            (None, _) => self.rng.u64(0..self.workload.keys),
        };
        let mut digits = *b"000000000000\r\n";
        for digit in digits[..12].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        out.extend_from_slice(&self.key_head);
        out.extend_from_slice(&digits);
    }

    fn value(&mut self, out: &mut Vec<u8>) {
        let range = &self.workload.value_bytes;
        let length = match range.end() - range.start() {
            0 => *range.start(),
            _ => self.rng.usize(range.clone()),
        };
        let at = self.rng.usize(0..POOL_BYTES);
        number_line(b'$', length as u64, out);
        out.extend_from_slice(&self.pool[at..at + length]);
        out.extend_from_slice(b"\r\n");
    }
}

fn many(elements: u32, name: &[u8], out: &mut Vec<u8>) {
    number_line(b'*', u64::from(elements), out);
    out.extend_from_slice(name);
}

/// Appends `kind`, the number and a line end.
fn number_line(kind: u8, mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    fn workload(op: Op, distribution: Distribution) -> Workload {
        Workload {
            op,
            read_ratio: 0.5,
            batch: 3,
            keys: 10,
            distribution,
            value_bytes: 5..=9,
            prefix: "key:".to_owned(),
            next: AtomicU64::new(0),
        }
    }

    /// The arguments of `count` commands.
    fn commands(workload: &Workload, count: usize) -> Vec<(Kind, Vec<Vec<u8>>)> {
        let mut generator = Generator::new(workload, 1);
        let mut made = Vec::new();
        for _ in 0..count {
            let mut bytes = Vec::new();
            let kind = generator.command(&mut bytes);
            // A command has the form of a list of strings.
            let mut rest = bytes.as_slice();
            let args = Reply::read(&mut rest).unwrap().elements().unwrap();
            assert!(rest.is_empty());
            made.push((kind, args.iter().map(|arg| arg.text().unwrap().to_vec()).collect()));
        }
        made
    }

    #[test]
    fn commands_are_well_formed() {
        for (op, words) in [
            (Op::Get, 2),
            (Op::Set, 3),
            (Op::Incr, 2),
            (Op::Mget, 4),
            (Op::Mset, 7),
            (Op::Ping, 1),
            (Op::Del, 2),
        ] {
            for (kind, args) in commands(&workload(op, Distribution::Uniform), 50) {
                assert_eq!(args.len(), words);
                assert_eq!(args[0].to_ascii_lowercase(), kind.name().as_bytes());
                assert!(args.get(1).is_none_or(|key| key.len() == 16 && key.starts_with(b"key:")));
                if op == Op::Set {
                    assert!((5..=9).contains(&args[2].len()));
                }
            }
        }
    }

    #[test]
    fn sequential_keys_cover_all_and_come_round() {
        let made = commands(&workload(Op::Get, Distribution::Sequential), 12);
        let keys: Vec<_> = made.iter().map(|(_, args)| args[1].clone()).collect();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(*key, format!("key:{:012}", at % 10).into_bytes());
        }
    }

    #[test]
    fn mixed_reads_and_writes() {
        let made = commands(&workload(Op::Mixed, Distribution::Zipf(0.99)), 1_000);
        let reads = made.iter().filter(|(kind, _)| *kind == Kind::Get).count();
        assert!((400..600).contains(&reads), "{reads}");
    }

    #[test]
    fn distributions_parse() {
        for text in ["uniform", "zipf:0.99", "zipf:1.2", "sequential", "same"] {
            assert_eq!(text.parse::<Distribution>().unwrap().to_string(), text);
        }
        for text in ["", "zipf:0", "zipf:-1", "zipf:nan", "zipf:x", "normal", "same:1"] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
    }
}
