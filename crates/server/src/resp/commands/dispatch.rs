//! From a command's id to the function that carries it out.
//!
//! Holds: the match has no wildcard, so a command of the table that nobody carries out does not
//! compile.

use super::{Context, Done, cluster, connection, info, keys, server, settings, strings};
use super::{transactions, wrong_arity};
use crate::resp::arguments::TimeUnit;
use crate::resp::table::{Command, Id};
use crate::resp::words::Words;
use keys::{ObjectQuestion, Shown};

/// Carries out `command` with its `words`, whose number is right.
pub(crate) fn dispatch(
    context: &mut Context<'_, '_>,
    command: &'static Command,
    words: Words<'_>,
) -> Done {
    match command.id {
        Id::Get => strings::get(context, words),
        Id::Set => strings::set(context, words),
        Id::SetNx => strings::setnx(context, words),
        Id::SetEx | Id::PSetEx => strings::setex(context, words, command.id == Id::PSetEx),
        Id::GetSet => strings::getset(context, words),
        Id::GetDel => strings::getdel(context, words),
        Id::GetEx => strings::getex(context, words),
        Id::MGet => strings::mget(context, words),
        Id::MSet => strings::mset(context, words, false),
        Id::MSetNx => strings::mset(context, words, true),
        Id::Append => strings::append(context, words),
        Id::StrLen => strings::strlen(context, words),
        Id::GetRange | Id::Substr => strings::getrange(context, words),
        Id::SetRange => strings::setrange(context, words),
        Id::Incr => strings::step(context, words, 1),
        Id::Decr => strings::step(context, words, -1),
        Id::IncrBy => strings::incrby(context, words),
        Id::DecrBy => strings::decrby(context, words),
        Id::IncrByFloat => strings::incrbyfloat(context, words),
        Id::Lcs => strings::lcs(context, words),
        Id::Multi => transactions::multi(context),
        Id::Exec => transactions::exec(context),
        Id::Discard => transactions::discard(context),
        Id::Watch => transactions::watch(context, words),
        Id::Unwatch => transactions::unwatch(context),
        _ => dispatch_keys(context, command, words),
    }
}

fn dispatch_keys(
    context: &mut Context<'_, '_>,
    command: &'static Command,
    words: Words<'_>,
) -> Done {
    match command.id {
        Id::Del | Id::Unlink => keys::del(context, words),
        Id::Exists | Id::Touch => keys::exists(context, words),
        Id::Type => keys::type_of(context, words),
        Id::Expire => keys::expire(context, words, TimeUnit::Seconds),
        Id::PExpire => keys::expire(context, words, TimeUnit::Millis),
        Id::ExpireAt => keys::expire(context, words, TimeUnit::SecondsAt),
        Id::PExpireAt => keys::expire(context, words, TimeUnit::MillisAt),
        Id::Ttl => keys::ttl(context, words, Shown::SecondsLeft),
        Id::PTtl => keys::ttl(context, words, Shown::MillisLeft),
        Id::ExpireTime => keys::ttl(context, words, Shown::Seconds),
        Id::PExpireTime => keys::ttl(context, words, Shown::Millis),
        Id::Persist => keys::persist(context, words),
        Id::Keys => keys::keys(context, words),
        Id::Scan => keys::scan(context, words),
        Id::RandomKey => keys::randomkey(context),
        Id::Rename => keys::rename(context, words, false),
        Id::RenameNx => keys::rename(context, words, true),
        Id::Copy => keys::copy(context, words),
        Id::Move => keys::move_key(context, words),
        Id::DbSize => keys::dbsize(context),
        Id::FlushDb => keys::flushdb(context, words),
        Id::FlushAll => keys::flushall(context, words),
        Id::SwapDb => keys::swapdb(context, words),
        Id::ObjectEncoding => keys::object(context, words, ObjectQuestion::Encoding),
        Id::ObjectIdleTime => keys::object(context, words, ObjectQuestion::IdleTime),
        Id::ObjectFreq => keys::object(context, words, ObjectQuestion::Freq),
        Id::ObjectRefCount => keys::object(context, words, ObjectQuestion::RefCount),
        _ => dispatch_server(context, command, words),
    }
}
