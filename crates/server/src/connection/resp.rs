//! The loop of a connection that speaks the Redis protocol: read, run, settle, send.
//!
//! Holds: one read and one write per turn, however many commands they carry. Replies leave only
//! once everything they speak of is as durable as its keyspace asks. Nothing is read while
//! replies wait, so a client that does not read cannot make the server hold more than one turn's
//! replies for it; and of all clients of a thread one at a time makes it so many.
//!
//! Does not know: what the commands mean.

use super::wire::{End, Wire};
use super::{Charge, Pace, Shared, UNCHARGED_BYTES, made, turn};
use crate::listener::Departures;
use crate::resp::{Run, Session};
use shoal_storage::{Commit, Patience};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Room for a usual turn's requests.
const SMALL_BUFFER: usize = 4 << 10;

/// What a connection keeps between two turns, at most: who sends values of 16 KiB reads each of
/// them at once, not in a handful of pieces.
const KEPT_BUFFER: usize = 32 << 10;

/// Room for one read while a long request comes in.
const LARGE_READ: usize = 256 << 10;

/// A buffer that waits may have this share of its bytes to spare.
const FIT_SHARE: usize = 16;

/// But no more than this: what waits is counted with what it has to spare, and the longest reply
/// has to fit the bound all the same.
const FIT_MOST: usize = 1 << 20;

/// How a conversation goes on, or does not.
pub(crate) enum Talk<S> {
    /// It is over.
    Ended(End),
    /// Nothing is under way; it is to go on, on another thread.
    Leaves(Wire<S>, Box<Session>, usize),
}

/// Talks with the client until the connection ends or leaves the thread. `first` are the bytes
/// that decided the protocol.
pub(crate) async fn converse<S>(wire: Wire<S>, first: Vec<u8>, departures: &Departures) -> Talk<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Box::new(Session::new(Arc::clone(&wire.shared), Arc::clone(wire.client())));
    session.input = first;
    go_on(wire, session, departures).await
}

/// Talks on with what a session has read.
pub(crate) async fn go_on<S>(
    mut wire: Wire<S>,
    mut session: Box<Session>,
    departures: &Departures,
) -> Talk<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut came = session.input.len();
    let mut pace = Pace::new(wire.shared.config.slow_request);
    let mut held: Option<Charge> = None;
    loop {
        turn().await;
        let pending_before = session.input.len();
        let (back, run) = run(session, &wire.shared).await;
        let Some(back) = back else {
            return Talk::Ended(End::Unserved("a command panicked on another thread"));
        };
        session = back;
        made(session.written());
        if let Err(end) = answer(&mut session, &mut wire, came).await {
            return Talk::Ended(end);
        }
        came = 0;
        match run {
            Run::Close => {
                wire.close().await;
                return Talk::Ended(End::Closed);
            }
            _ if wire.client().is_killed() => return Talk::Ended(End::Killed),
            // What it has asked is kept in the session, and it goes on where it left off.
            Run::Away => {
                if let Err(end) = wire.until_answered(session.errands()).await {
                    return Talk::Ended(end);
                }
            }
            // Others on this thread have their turn before the rest of a long pipeline.
            Run::Yield | Run::Cold => tokio::task::yield_now().await,
            Run::Idle => {
                let pending = session.input.len();
                if pending == 0
                    && let Some(to) = departures.next()
                {
                    return Talk::Leaves(wire, session, to);
                }
                if pending < pending_before || pending == 0 {
                    pace.reset();
                }
                make_room(&mut session.input, wire.shared.config.max_command);
                if wire.shared.input.recharge(&mut held, session.input.capacity()).is_err() {
                    return Talk::Ended(End::TooMuchInput);
                }
                let started = (pending > 0).then_some(&mut pace);
                match wire.read(&mut session.input, started).await {
                    Ok(count) => came = count,
                    Err(end) => return Talk::Ended(end),
                }
            }
        }
    }
}

/// Runs what was read: here, and on a thread that may wait for a disk where that is needed.
/// `None` comes back instead of the session if it panicked there.
async fn run(mut session: Box<Session>, shared: &Arc<Shared>) -> (Option<Box<Session>>, Run) {
    let run = session.run(&shared.node, Patience::Inline);
    if run != Run::Cold {
        return (Some(session), run);
    }
    let node = Arc::clone(&shared.node);
    let cold = tokio::task::spawn_blocking(move || {
        let run = session.run(&node, Patience::Block);
        (session, run)
    });
    match cold.await {
        Ok((session, run)) => (Some(session), run),
        Err(error) => {
            tracing::error!(%error, "a command panicked; its connection was closed");
            (None, Run::Close)
        }
    }
}

/// Sends the replies, once what they speak of is settled.
async fn answer<S>(session: &mut Session, wire: &mut Wire<S>, came: usize) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.shared.counters.add_bytes_in(came as u64);
    if session.output.is_empty() {
        return Ok(());
    }
    let commit = session.commit();
    if commit != Commit::DONE {
        let _held = if session.output.len() > UNCHARGED_BYTES {
            fit(&mut session.output);
            let held = wire.shared.output.hold(wire.client(), session.output.capacity());
            Some(held.ok_or(End::TooMuchOutput)?)
        } else {
            None
        };
        if let Err(refusal) = wire.shared.node.settled(commit).await {
            session.fail_unsettled(&refusal);
        }
    }
    let sent = wire.write_now(&session.output).await?;
    if sent < session.output.len() {
        fit(&mut session.output);
        wire.write_all(&session.output[sent..], session.output.capacity()).await?;
    }
    wire.shared.counters.add_bytes_out(session.output.len() as u64);
    session.sent();
    Ok(())
}

/// Gives up what a buffer has grown beyond its bytes, before it waits for its peer: doubling
/// leaves up to as much again.
fn fit(output: &mut Vec<u8>) {
    let spare = output.capacity() - output.len();
    let may_spare = (output.len() / FIT_SHARE).min(FIT_MOST);
    if output.capacity() > UNCHARGED_BYTES && spare > may_spare {
        output.shrink_to_fit();
    }
}

/// Leaves room for the next read: little where little comes, much within a long request, which
/// has `longest` bytes at most.
fn make_room(input: &mut Vec<u8>, longest: usize) {
    if input.is_empty() && input.capacity() > KEPT_BUFFER {
        *input = Vec::with_capacity(SMALL_BUFFER);
    }
    let spare = input.capacity() - input.len();
    if spare < SMALL_BUFFER / 2 {
        // Doubling keeps the cost of moving a long request's bytes proportional to its length;
        // beyond what a request may have it would only take memory.
        let least = input.len() + input.len().clamp(SMALL_BUFFER, LARGE_READ);
        let doubled = (2 * input.capacity()).min(longest);
        input.reserve_exact(doubled.max(least) - input.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_has_little_to_spare() {
        let mut long = Vec::with_capacity(4 << 20);
        long.resize(2 << 20, b'x');
        fit(&mut long);
        assert!(long.capacity() <= (2 << 20) + (2 << 20) / FIT_SHARE, "{}", long.capacity());
        assert_eq!(long.len(), 2 << 20);
        let mut longest = Vec::with_capacity(66 << 20);
        longest.resize(64 << 20, b'x');
        fit(&mut longest);
        assert!(longest.capacity() <= (64 << 20) + FIT_MOST, "{}", longest.capacity());
        let mut short: Vec<u8> = Vec::with_capacity(UNCHARGED_BYTES);
        fit(&mut short);
        assert!(short.capacity() >= UNCHARGED_BYTES, "little is not worth moving");
    }

    #[test]
    fn room_grows_by_doubling_up_to_the_longest_request() {
        let longest = 5 << 20;
        let mut input = Vec::new();
        let mut moves = 0;
        while input.len() < longest {
            let before = input.capacity();
            make_room(&mut input, longest);
            moves += usize::from(input.capacity() > before);
            let spare = input.capacity() - input.len();
            assert!(spare >= SMALL_BUFFER / 2);
            input.resize(input.len() + spare.min(LARGE_READ), b'x');
        }
        assert!(input.capacity() <= longest + 2 * LARGE_READ, "{}", input.capacity());
        assert!(moves < 20, "{moves}");
        input.clear();
        make_room(&mut input, longest);
        assert_eq!(input.capacity(), SMALL_BUFFER);
    }
}
