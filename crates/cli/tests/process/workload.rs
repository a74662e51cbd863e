//! What the connections do while the node is hurt, and how it is checked afterwards.
//!
//! Every connection has a database and groups of keys of its own, whose replies it can foretell;
//! all increment a few counters together.

use crate::client::{Client, Words, encode};
use crate::history::{Found, Group, Held, Looked, Mark, Shape, Shared};
use crate::reply::Reply;
use crate::settings::now_ms;
use std::io;

/// The keys of a group, by their place. The first two always hold the same.
const PAIR: [usize; 2] = [0, 1];
const COUNTER: usize = 2;
const PLAIN: usize = 3;
const TARGET: usize = 4;
const SHORT_LIVED: usize = 5;
const PLACES: usize = 6;
/// Far enough away never to come in a test.
const FAR_MS: i64 = 3_600_000;
/// Databases with a name of their own from the start.
const DATABASES: usize = 16;

/// One connection's share of the work.
pub(crate) struct Worker {
    number: usize,
    groups: Vec<Group>,
    /// Groups of one key each, with values that are there to fill buffers.
    ballast: Vec<Group>,
    serial: u64,
    longest_value: usize,
    /// Operations that were acknowledged.
    pub(crate) acknowledged: u64,
}

/// The counters that all connections increment. They live in database 0.
pub(crate) fn shared_counters() -> Vec<Shared> {
    ["shared:0", "shared:1", "shared:2"].map(Shared::new).into()
}

/// A command with the answer that it must get. Of a key that expires soon none is known, save
/// that it is no error.
struct Planned {
    words: Words,
    answer: Option<Reply>,
}

/// What one operation does to a group.
struct Plan {
    commands: Vec<Planned>,
    shape: Shape,
}

/// What a sent operation changes once it is acknowledged.
enum Sent {
    Group(usize),
    Shared(usize, usize),
}

impl Worker {
    /// The worker of this number, with groups of keys that hold nothing.
    pub(crate) fn new(number: usize, groups: usize, longest_value: usize) -> Self {
        let groups = (0..groups).map(|group| {
            Group::new(
                (0..PLACES).map(|place| format!("w{number}:g{group}:{place}").into()).collect(),
            )
        });
        Self {
            number,
            groups: groups.collect(),
            ballast: Vec::new(),
            serial: 0,
            longest_value,
            acknowledged: 0,
        }
    }

    /// The number of the database that its keys are in.
    pub(crate) fn database(&self) -> usize {
        (self.number + 1) % DATABASES
    }

    fn connect(&self, address: &str) -> io::Result<Client> {
        let mut client = Client::connect(address)?;
        client.line(&format!("SELECT {}", self.database()))?;
        Ok(client)
    }

    /// Works until the connection breaks or `until` operations were acknowledged in all; an answer
    /// that should not be is an error. `mark` tells where in the run we are.
    pub(crate) fn work(
        &mut self,
        address: &str,
        shared: &[Shared],
        rng: &mut fastrand::Rng,
        mark: &dyn Fn() -> Mark,
        until: u64,
    ) -> Result<(), String> {
        let Ok(mut client) = self.connect(address) else { return Ok(()) };
        let Ok(mut common) = Client::connect(address) else { return Ok(()) };
        while self.acknowledged < until {
            let sent = if rng.u8(..8) == 0 {
                self.increment_together(&mut common, shared, rng, mark)
            } else {
                self.pipeline(&mut client, rng, mark)
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(format!("worker {}: {error}", self.number));
                }
                // The connection is gone, which is what this is about.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Writes `count` values of `bytes` each under keys of their own, old values going. That is
    /// more than a node's buffers hold, if the caller wants checkpoints to happen.
    pub(crate) fn fill(
        &mut self,
        address: &str,
        (count, bytes): (usize, usize),
        rng: &mut fastrand::Rng,
        mark: &dyn Fn() -> Mark,
    ) -> Result<(), String> {
        let failed = |error: io::Error| format!("worker {}: {error}", self.number);
        let mut client = self.connect(address).map_err(failed)?;
        for place in self.ballast.len()..count {
            self.ballast.push(Group::new(vec![format!("w{}:fill:{place}", self.number).into()]));
        }
        for group in &mut self.ballast[..count] {
            let value: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect();
            let held = Held { value: value.clone(), expires_ms: None };
            group.send(Shape::from([(0, held)]), mark());
            let reply = client.ask(&[b"SET", &group.keys[0][..], &value]);
            let reply = reply.map_err(|error| error.to_string())?;
            if reply != Reply::ok() {
                return Err(format!("worker {}: SET answered {reply:?}", self.number));
            }
            group.acknowledge(mark());
        }
        Ok(())
    }

    /// Sends one to eight operations at once and reads what they answer.
    fn pipeline(
        &mut self,
        client: &mut Client,
        rng: &mut fastrand::Rng,
        mark: &dyn Fn() -> Mark,
    ) -> io::Result<()> {
        let (mut bytes, mut answers) = (Vec::new(), Vec::new());
        let sent = mark();
        for _ in 0..rng.usize(1..=8) {
            let group = rng.usize(..self.groups.len());
            let plan = self.plan(group, rng);
            for command in &plan.commands {
                encode(&command.words, &mut bytes);
            }
            self.groups[group].send(plan.shape, sent);
            answers.push((Sent::Group(group), plan.commands));
        }
        client.send(&bytes)?;
        for (sent, commands) in answers {
            for command in &commands {
                expect(&client.read()?, command)?;
            }
            if let Sent::Group(group) = sent {
                self.groups[group].acknowledge(mark());
                self.acknowledged += 1;
            }
        }
        Ok(())
    }

    fn increment_together(
        &mut self,
        client: &mut Client,
        shared: &[Shared],
        rng: &mut fastrand::Rng,
        mark: &dyn Fn() -> Mark,
    ) -> io::Result<()> {
        let (mut bytes, mut names) = (Vec::new(), Vec::new());
        for _ in 0..rng.usize(1..=4) {
            let which = rng.usize(..shared.len());
            encode(&[b"INCR", &shared[which].key[..]], &mut bytes);
            names.push(Sent::Shared(which, shared[which].send(mark())));
        }
        client.send(&bytes)?;
        for name in names {
            let reply = client.read()?;
            if reply.integer().is_none() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("INCR: {reply:?}")));
            }
            if let Sent::Shared(which, name) = name {
                shared[which].acknowledge(name, mark());
                self.acknowledged += 1;
            }
        }
        Ok(())
    }

    fn plan(&mut self, group: usize, rng: &mut fastrand::Rng) -> Plan {
        self.serial += 1;
        let value = self.value(rng);
        let group = &self.groups[group];
        let mut planner =
            Planner { keys: &group.keys, shape: group.last().clone(), commands: vec![] };
        match rng.u8(..20) {
            0..=3 => planner.pair(&value, rng),
            4 => planner.pair_gone(),
            5..=7 => planner.count(rng),
            8 => planner.pair_from_counter(),
            9..=11 => planner.set(PLAIN, &value, None),
            12 => planner.append(&value),
            13 => planner.remove(PLAIN, rng),
            14 => planner.expire_far(),
            15 => planner.persist(),
            16 => planner.rename_or_copy(rng),
            17 => planner.read(),
            _ => {
                let soon = now_ms() + rng.i64(1..3_000);
                planner.set(SHORT_LIVED, &value, rng.bool().then_some(soon));
            }
        }
        Plan { commands: planner.commands, shape: planner.shape }
    }

    /// A value that no other write has.
    fn value(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        let mut value = format!("{}.{}.", self.number, self.serial).into_bytes();
        let length = match rng.u8(..16) {
            0 => rng.usize(..self.longest_value),
            1..=4 => rng.usize(..self.longest_value.min(1_000)),
            _ => rng.usize(..40),
        };
        value.extend(std::iter::repeat_with(|| rng.u8(..)).take(length));
        value
    }

    /// Reads every key and judges what is there after a crash at `cut`; returns what each group
    /// holds.
    pub(crate) fn check(&self, address: &str, cut: Mark) -> Result<Vec<Shape>, String> {
        let told = |why: String| format!("worker {}: {why}", self.number);
        let failed = |error: io::Error| told(error.to_string());
        let mut client = self.connect(address).map_err(failed)?;
        let mut shapes = Vec::new();
        let (mut least, mut most) = (0, self.groups.len() as i64);
        for group in self.groups.iter().chain(&self.ballast) {
            let (found, looked) = look(&mut client, &group.keys).map_err(failed)?;
            let shape = group.judge(&found, looked, cut).map_err(told)?;
            let lasts =
                |held: &&Held| held.expires_ms.is_none_or(|at| at > looked.to_ms + FAR_MS / 2);
            least += shape.values().filter(lasts).count() as i64;
            most += shape.len() as i64;
            shapes.push(shape);
        }
        // What has expired may still be counted until it is swept, so only the short-lived keys
        // leave the count open.
        let counted = client.line("DBSIZE").map_err(failed)?;
        if !counted.integer().is_some_and(|counted| (least..=most).contains(&counted)) {
            return Err(told(format!("DBSIZE is {counted:?}, must be {least} to {most}")));
        }
        Ok(shapes)
    }

    /// What every key should hold now that all is acknowledged, and under which keys.
    pub(crate) fn everything(&self) -> impl Iterator<Item = (&[u8], Option<&Held>)> {
        self.groups.iter().chain(&self.ballast).flat_map(|group| {
            let keys = group.keys.iter().enumerate();
            keys.map(|(place, key)| (&key[..], group.last().get(&place)))
        })
    }

    /// Begins anew with what was found.
    pub(crate) fn restart(&mut self, shapes: Vec<Shape>) {
        for (group, shape) in self.groups.iter_mut().chain(&mut self.ballast).zip(shapes) {
            group.restart(shape);
        }
    }

    /// Goes on with what was found, the past remaining known.
    pub(crate) fn observe(&mut self, shapes: Vec<Shape>, mark: Mark) {
        for (group, shape) in self.groups.iter_mut().chain(&mut self.ballast).zip(shapes) {
            group.observe(shape, mark);
        }
    }
}

/// Judges the shared counters after a crash at `cut`; returns what they hold.
pub(crate) fn check_shared(
    address: &str,
    shared: &[Shared],
    cut: Mark,
) -> Result<Vec<i64>, String> {
    let mut client = Client::connect(address).map_err(|error| error.to_string())?;
    let mut values = Vec::new();
    for counter in shared {
        let reply = client.ask(&[b"GET", &counter.key[..]]).map_err(|error| error.to_string())?;
        let found = match &reply {
            Reply::Bulk(digits) => String::from_utf8_lossy(digits).parse().ok(),
            reply => reply.is_nil().then_some(0),
        };
        let found = found.ok_or_else(|| format!("a counter holds {reply:?}"))?;
        counter.judge(found, cut)?;
        values.push(found);
    }
    Ok(values)
}

fn look(client: &mut Client, keys: &[Vec<u8>]) -> io::Result<(Vec<Found>, Looked)> {
    let mut bytes = Vec::new();
    for key in keys {
        encode(&[b"GET", &key[..]], &mut bytes);
        encode(&[b"PEXPIRETIME", &key[..]], &mut bytes);
    }
    let from_ms = now_ms();
    client.send(&bytes)?;
    let mut found = Vec::new();
    for _ in keys {
        let (value, expire_time) = (client.read()?, client.read()?);
        let wrong = || io::Error::other(format!("GET: {value:?}, PEXPIRETIME: {expire_time:?}"));
        if !matches!(value, Reply::Bulk(_) | Reply::Nil(_)) {
            return Err(wrong());
        }
        found.push(Found {
            value: value.bulk().map(<[u8]>::to_vec),
            expire_time: expire_time.integer().ok_or_else(wrong)?,
        });
    }
    Ok((found, Looked { from_ms, to_ms: now_ms() }))
}

fn expect(reply: &Reply, command: &Planned) -> io::Result<()> {
    let same = match &command.answer {
        None => reply.error().is_none(),
        Some(answer) if answer.is_nil() => reply.is_nil(),
        Some(answer) => reply == answer,
    };
    if same {
        return Ok(());
    }
    let words: Vec<String> = command.words.iter().map(|word| crate::reply::shown(word)).collect();
    let what = format!("{}: answered {reply:?}, expected {:?}", words.join(" "), command.answer);
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Puts together one operation on a group.
struct Planner<'a> {
    keys: &'a [Vec<u8>],
    shape: Shape,
    commands: Vec<Planned>,
}

impl Planner<'_> {
    fn command(&mut self, name: &str, arguments: &[&[u8]], answer: Reply) {
        let mut words = vec![name.as_bytes().to_vec()];
        words.extend(arguments.iter().map(|word| word.to_vec()));
        self.commands.push(Planned { words, answer: Some(answer) });
    }

    fn on(&mut self, name: &str, place: usize, arguments: &[&[u8]], answer: Reply) {
        let key = self.keys[place].clone();
        self.command(name, &[&[&key[..]], arguments].concat(), answer);
    }

    fn put(&mut self, place: usize, value: &[u8]) {
        self.shape.insert(place, Held { value: value.to_vec(), expires_ms: None });
    }

    /// Everything planned so far becomes one transaction.
    fn in_transaction(&mut self) {
        let planned = std::mem::take(&mut self.commands);
        self.command("MULTI", &[], Reply::ok());
        let mut answers = Vec::new();
        for Planned { words, answer } in planned {
            let queued = Some(Reply::Simple("QUEUED".to_owned()));
            self.commands.push(Planned { words, answer: queued });
            answers.extend(answer);
        }
        self.command("EXEC", &[], Reply::Array(answers));
    }

    fn pair(&mut self, value: &[u8], rng: &mut fastrand::Rng) {
        if rng.bool() {
            let [one, two] = PAIR.map(|place| self.keys[place].clone());
            self.command("MSET", &[&one, value, &two, value], Reply::ok());
        } else {
            for place in PAIR {
                self.on("SET", place, &[value], Reply::ok());
            }
            self.in_transaction();
        }
        for place in PAIR {
            self.put(place, value);
        }
    }

    fn pair_gone(&mut self) {
        for place in PAIR {
            let there = self.shape.remove(&place).is_some();
            self.on("DEL", place, &[], Reply::Integer(there.into()));
        }
        self.in_transaction();
    }

    fn counter(&self) -> i64 {
        let held = self.shape.get(&COUNTER);
        held.map_or(0, |held| String::from_utf8_lossy(&held.value).parse().expect("a counter"))
    }

    fn count(&mut self, rng: &mut fastrand::Rng) {
        if rng.u8(..10) == 0 {
            let there = self.shape.remove(&COUNTER).is_some();
            return self.on("UNLINK", COUNTER, &[], Reply::Integer(there.into()));
        }
        let by = rng.i64(-5..=10);
        let to = self.counter() + by;
        self.on("INCRBY", COUNTER, &[by.to_string().as_bytes()], Reply::Integer(to));
        self.put(COUNTER, to.to_string().as_bytes());
    }

    /// The counter goes up and the pair becomes what it was before, in one transaction.
    fn pair_from_counter(&mut self) {
        let before = self.counter();
        for place in PAIR {
            self.on("SET", place, &[before.to_string().as_bytes()], Reply::ok());
            self.put(place, before.to_string().as_bytes());
        }
        self.on("INCR", COUNTER, &[], Reply::Integer(before + 1));
        self.put(COUNTER, (before + 1).to_string().as_bytes());
        self.in_transaction();
    }

    fn set(&mut self, place: usize, value: &[u8], expires_ms: Option<i64>) {
        match expires_ms {
            Some(at) => {
                let at = at.to_string().into_bytes();
                self.on("SET", place, &[value, b"PXAT", &at], Reply::ok());
            }
            None => self.on("SET", place, &[value], Reply::ok()),
        }
        self.shape.insert(place, Held { value: value.to_vec(), expires_ms });
    }

    fn append(&mut self, more: &[u8]) {
        let more = &more[..more.len().min(30)];
        let held = self.shape.entry(PLAIN).or_insert(Held { value: Vec::new(), expires_ms: None });
        held.value.extend_from_slice(more);
        let length = held.value.len() as i64;
        self.on("APPEND", PLAIN, &[more], Reply::Integer(length));
    }

    fn remove(&mut self, place: usize, rng: &mut fastrand::Rng) {
        let held = self.shape.remove(&place);
        if rng.bool() {
            let value = held.map_or(Reply::Nil(b'$'), |held| Reply::Bulk(held.value));
            self.on("GETDEL", place, &[], value);
        } else {
            self.on("DEL", place, &[], Reply::Integer(held.is_some().into()));
        }
    }

    fn expire_far(&mut self) {
        let at = now_ms() + FAR_MS;
        let there = self.shape.get_mut(&PLAIN).map(|held| held.expires_ms = Some(at)).is_some();
        self.on("PEXPIREAT", PLAIN, &[at.to_string().as_bytes()], Reply::Integer(there.into()));
    }

    fn persist(&mut self) {
        let expiry = self.shape.get_mut(&PLAIN).and_then(|held| held.expires_ms.take());
        self.on("PERSIST", PLAIN, &[], Reply::Integer(expiry.is_some().into()));
    }

    fn rename_or_copy(&mut self, rng: &mut fastrand::Rng) {
        let target = self.keys[TARGET].clone();
        let Some(held) = self.shape.get(&PLAIN).cloned() else {
            return self.set(TARGET, b"a target of its own", None);
        };
        self.shape.insert(TARGET, held);
        if rng.bool() {
            self.shape.remove(&PLAIN);
            self.on("RENAME", PLAIN, &[&target], Reply::ok());
        } else {
            self.on("COPY", PLAIN, &[&target, b"REPLACE"], Reply::Integer(1));
        }
    }

    fn read(&mut self) {
        let held = self.shape.get(&PLAIN);
        let value = held.map_or(Reply::Nil(b'$'), |held| Reply::Bulk(held.value.clone()));
        self.on("GET", PLAIN, &[], value);
        let words = vec![b"GET".to_vec(), self.keys[SHORT_LIVED].clone()];
        self.commands.push(Planned { words, answer: None });
    }
}
