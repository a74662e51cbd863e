//! From a command's id to the function that carries it out.
//!
//! Holds: every command of the table is carried out; a test walks the table to show it.

use super::{Context, Done, Fail, cluster, connection, info, keys, levels, server, settings};
use super::{strings, transactions, wrong_arity};
use crate::resp::arguments::TimeUnit;
use crate::resp::table::{Command, Flag, Id};
use crate::resp::words::Words;
use keys::{ObjectQuestion, Shown};

/// Carries out `command` with its `words`, whose number is right.
pub(crate) fn dispatch(
    context: &mut Context<'_, '_>,
    command: &'static Command,
    words: Words<'_>,
) -> Done {
    let done = dispatch_strings(context, command, words);
    if command.has(Flag::Write) && done.is_ok() {
        context.client.written.note(context.client.level);
    }
    done
}

#[inline]
fn dispatch_strings(
    context: &mut Context<'_, '_>,
    command: &'static Command,
    words: Words<'_>,
) -> Done {
    match command.id {
        Id::Get => strings::get(context, words),
        Id::Set => strings::set(context, words),
        Id::SetNx => strings::setnx(context, words),
        Id::SetEx => strings::setex(context, words, TimeUnit::Seconds),
        Id::PSetEx => strings::setex(context, words, TimeUnit::Millis),
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

fn dispatch_server(
    context: &mut Context<'_, '_>,
    command: &'static Command,
    words: Words<'_>,
) -> Done {
    let id = command.id;
    match id {
        Id::Ping => connection::ping(context, words),
        Id::Echo => connection::echo(context, words),
        Id::Hello => connection::hello(context, words),
        Id::Auth => connection::auth(context, words),
        Id::Select | Id::Use => connection::select(context, id, words),
        Id::Reset => connection::reset(context),
        Id::Quit => connection::quit(context),
        Id::ClientId => connection::client_id(context),
        Id::ClientGetName => connection::client_getname(context),
        Id::ClientSetName => connection::client_setname(context, words),
        Id::ClientSetInfo => connection::client_setinfo(context, words),
        Id::ClientInfo => connection::client_info(context),
        Id::ClientList => connection::client_list(context, words),
        Id::ClientKill => connection::client_kill(context, words),
        Id::ClientReply => connection::client_reply(context, words),
        Id::ClientNoEvict | Id::ClientNoTouch => connection::client_switch(context, id, words),
        Id::ClientUnpause => connection::client_unpause(context),
        Id::Command
        | Id::CommandCount
        | Id::CommandList
        | Id::CommandInfo
        | Id::CommandDocs
        | Id::CommandGetKeys => server::command(context, id, words),
        Id::Info => info::info(context, words),
        Id::ConfigGet => settings::get(context, words),
        Id::ConfigSet => settings::set(context, words),
        Id::ConfigResetStat => settings::reset_stat(context),
        Id::Time => server::time(context),
        Id::LastSave => server::last_save(context),
        Id::Save => server::save(context),
        Id::BgSave => server::bgsave(context, words),
        Id::Role => server::role(context),
        Id::AclWhoAmI => server::whoami(context),
        Id::Wait => levels::wait(context, words),
        Id::MemoryUsage => server::memory_usage(context, words),
        Id::SlowLogGet | Id::SlowLogLen | Id::SlowLogReset => server::slowlog(context, id, words),
        Id::LatencyLatest
        | Id::LatencyHistory
        | Id::LatencyReset
        | Id::LatencyHistogram
        | Id::LatencyGraph
        | Id::LatencyDoctor => server::latency(context, id, words),
        Id::ObjectHelp
        | Id::CommandHelp
        | Id::ConfigHelp
        | Id::AclHelp
        | Id::MemoryHelp
        | Id::SlowLogHelp
        | Id::LatencyHelp
        | Id::ClientHelp
        | Id::ClusterHelp => server::help(context, words),
        _ => dispatch_cluster(context, command, words),
    }
}

fn dispatch_cluster(
    context: &mut Context<'_, '_>,
    command: &'static Command,
    words: Words<'_>,
) -> Done {
    match command.id {
        Id::Consistency => levels::consistency(context, words),
        Id::At => levels::at(context, words),
        Id::ReadOnly | Id::ReadWrite | Id::Asking => cluster::granted(context),
        Id::ClusterInfo => cluster::info(context),
        Id::ClusterMyId => cluster::my_id(context),
        Id::ClusterKeySlot => cluster::key_slot(context, words),
        Id::ClusterSlots => cluster::slots(context),
        Id::ClusterShards => cluster::shards(context),
        Id::ClusterNodes => cluster::nodes(context),
        Id::ClusterCountKeysInSlot => cluster::count_keys_in_slot(context, words),
        Id::ClusterGetKeysInSlot => cluster::get_keys_in_slot(context, words),
        // A container without a subcommand, or a command that this table misses: a test walks
        // the command table to show that there is none of the latter.
        _ => Err(Fail::Text(wrong_arity(command.name).into())),
    }
}
