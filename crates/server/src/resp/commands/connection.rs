//! Commands on the connection itself: greetings, the choice of a keyspace, CLIENT.

use super::{Context, Done, Fail};
use crate::connection::{Client, Protocol as Spoken, Shown};
use crate::resp::arguments::{self, ArgumentError};
use crate::resp::figures::unix_time_ms;
use crate::resp::reply::Protocol;
use crate::resp::state::Replies;
use crate::resp::table::Id;
use crate::resp::words::Words;
use shoal_node::Target;
use std::fmt::Write;
use std::sync::Arc;

/// The version of Redis whose commands these are.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// PING [message]
pub(crate) fn ping(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    match words.get(1) {
        Some(_) if words.len() > 2 => {
            return Err(Fail::Text(super::wrong_arity("ping").into()));
        }
        Some(message) => context.reply.bulk(message),
        None => context.reply.simple("PONG"),
    }
    Ok(())
}

/// ECHO message
pub(crate) fn echo(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    context.reply.bulk(words.word(1));
    Ok(())
}

/// HELLO [version [AUTH user password] [SETNAME name]]
pub(crate) fn hello(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let mut named = None;
    let hello = arguments::hello(words, is_user, &mut named);
    if let Some(name) = named {
        context.client.name = name;
        show(context);
    }
    let hello = hello?;
    let protocol = hello.protocol.unwrap_or(context.client.protocol);
    context.client.protocol = protocol;
    context.reply.set_protocol(protocol);
    show(context);
    let id = i64::try_from(context.client.id).unwrap_or(i64::MAX);
    let reply = &mut context.reply;
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(id);
    for (field, value) in [("mode", super::info::mode(context.client)), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// There are no users yet: everyone is `default`, whose password is any.
fn is_user(user: &[u8]) -> bool {
    user == b"default"
}

/// AUTH [user] password
pub(crate) fn auth(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    match words.len() {
        2 => {
            return Err(Fail::text(
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
            ));
        }
        3 if !is_user(words.word(1)) => return Err(ArgumentError::WrongPassword.into()),
        3 => {}
        _ => return Err(Fail::text("ERR syntax error")),
    }
    context.reply.ok();
    Ok(())
}

/// SELECT number or name, USE name
pub(crate) fn select(context: &mut Context<'_, '_>, id: Id, words: Words<'_>) -> Done {
    if let Ok(target) = named(id, words.word(1))
        && !context.access.exists(&target)
    {
        // Another node may have made it a moment ago.
        context.access.know(&target)?;
    }
    let target = target_of(context, id, words.word(1))?;
    let map = context.shared.node.map();
    super::levels::leave(&mut context.client.written, &map, &context.client.target);
    context.client.target = target;
    show(context);
    context.reply.ok();
    Ok(())
}

/// The keyspace that SELECT or USE with this word chooses.
pub(crate) fn target_of(context: &Context<'_, '_>, id: Id, word: &[u8]) -> Result<Target, Fail> {
    let target = named(id, word)?;
    match target {
        _ if context.access.exists(&target) => Ok(target),
        Target::Database(_) => Err(ArgumentError::NoDatabase.into()),
        Target::Named(_) => Err(unknown(word)),
    }
}

/// The keyspace that SELECT or USE with this word names, whether it is there or not.
fn named(id: Id, word: &[u8]) -> Result<Target, Fail> {
    // No keyspace is called by a number alone, so what looks like one is one, or wrong.
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    if id == Id::Select && digits.iter().all(u8::is_ascii_digit) {
        let number = u16::try_from(arguments::database(word)?);
        return Ok(Target::Database(number.map_err(|_| ArgumentError::NoDatabase)?));
    }
    let name = std::str::from_utf8(word).map_err(|_| unknown(word))?;
    // Redis' answer to what is no number, unless it could be a name.
    let of_names = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if id == Id::Select && (name.starts_with(['-', '_']) || !name.bytes().all(of_names)) {
        return Err(ArgumentError::NotInteger.into());
    }
    Ok(Target::Named(Arc::from(name)))
}

fn unknown(word: &[u8]) -> Fail {
    let name = String::from_utf8_lossy(word);
    Fail::Text(format!("NOKEYSPACE there is no keyspace '{name}'").into())
}

/// RESET
pub(crate) fn reset(context: &mut Context<'_, '_>) -> Done {
    context.client.reset();
    context.reply.set_protocol(Protocol::Resp2);
    show(context);
    context.reply.simple("RESET");
    Ok(())
}

/// QUIT
pub(crate) fn quit(context: &mut Context<'_, '_>) -> Done {
    context.client.closing = true;
    context.reply.ok();
    Ok(())
}

/// CLIENT ID
pub(crate) fn client_id(context: &mut Context<'_, '_>) -> Done {
    context.reply.count(context.client.id);
    Ok(())
}

/// CLIENT GETNAME
pub(crate) fn client_getname(context: &mut Context<'_, '_>) -> Done {
    if context.client.name.is_empty() {
        context.reply.null();
    } else {
        context.reply.bulk(context.client.name.as_bytes());
    }
    Ok(())
}

/// CLIENT SETNAME name
pub(crate) fn client_setname(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    context.client.name = arguments::client_name(words.word(2))?;
    show(context);
    context.reply.ok();
    Ok(())
}

/// CLIENT SETINFO LIB-NAME name | LIB-VER version
pub(crate) fn client_setinfo(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let (field, value) = arguments::client_setinfo(words)?;
    match field {
        arguments::ClientInfoField::LibraryName => context.client.library_name = value,
        arguments::ClientInfoField::LibraryVersion => context.client.library_version = value,
    }
    show(context);
    context.reply.ok();
    Ok(())
}

/// CLIENT INFO
pub(crate) fn client_info(context: &mut Context<'_, '_>) -> Done {
    let own = context.shared.registry.get(context.client.id);
    let text = own.map(|client| describe(&client, context.client.last_command));
    context.reply.verbatim(&text.unwrap_or_default());
    Ok(())
}

/// CLIENT LIST [TYPE type] [ID id ...]
pub(crate) fn client_list(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let filter = arguments::client_list(words)?;
    let mut text = String::new();
    for client in context.shared.registry.clients() {
        let wanted = match &filter {
            arguments::ClientFilter::All => true,
            arguments::ClientFilter::Ids(ids) => ids.contains(&client.id),
            arguments::ClientFilter::Normal => client.shown().protocol == Spoken::Resp,
            arguments::ClientFilter::None => false,
        };
        if wanted {
            let own = client.id == context.client.id;
            let command = own.then_some(context.client.last_command);
            text.push_str(&describe(&client, command.unwrap_or(client.shown().command)));
        }
    }
    context.reply.verbatim(&text);
    Ok(())
}

/// One line of CLIENT LIST.
fn describe(client: &Client, command: &str) -> String {
    let shown = client.shown();
    let mut flags = String::new();
    if shown.queued.is_some() {
        flags.push('x');
    }
    if client.is_unix {
        flags.push('U');
    }
    if shown.no_evict {
        flags.push('e');
    }
    if shown.no_touch {
        flags.push('T');
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let Shown { name, library_name, library_version, database, resp_version, .. } = &shown;
    let mut line = format!(
        "id={} addr={} laddr={} fd=-1 name={name} age={} idle={} flags={flags} db={database}",
        client.id,
        client.address,
        client.local_address,
        client.connected.elapsed().as_secs(),
        unix_time_ms().saturating_sub(shown.last_active_ms) / 1_000,
    );
    let queued = shown.queued.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
    let _infallible = writeln!(
        line,
        " sub=0 psub=0 ssub=0 multi={queued} qbuf={} qbuf-free={} argv-mem=0 multi-mem=0 rbs={} \
         rbp={} obl=0 oll=0 omem={} tot-mem={} events=r cmd={command} user=default redir=-1 \
         resp={resp_version} lib-name={library_name} lib-ver={library_version}",
        shown.input_bytes,
        shown.input_capacity.saturating_sub(shown.input_bytes),
        shown.output_bytes,
        shown.output_bytes,
        shown.output_bytes,
        shown.input_capacity + shown.output_bytes,
    );
    line
}

/// CLIENT KILL address | filters
pub(crate) fn client_kill(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let kill = arguments::client_kill(words)?;
    if let Some(user) = kill.user.as_deref().filter(|user| *user != "default") {
        return Err(Fail::Text(format!("ERR No such user '{user}'").into()));
    }
    let own = context.client.id;
    let mut killed = 0;
    for client in context.shared.registry.clients() {
        let shown = client.shown();
        let meant = kill.id.is_none_or(|id| id == client.id)
            && kill.address.as_deref().is_none_or(|address| address == client.address)
            && kill.local_address.as_deref().is_none_or(|at| at == client.local_address)
            && kill.kind.is_none_or(|kind| kind == arguments::ClientKind::Normal)
            && shown.protocol == Spoken::Resp
            && !(kill.skip_me && client.id == own);
        if !meant {
            continue;
        }
        killed += 1;
        if client.id == own {
            context.client.closing = true;
        } else {
            client.kill();
        }
    }
    if !kill.old_form {
        context.reply.integer(killed);
    } else if killed == 0 {
        return Err(Fail::text("ERR No such client"));
    } else {
        context.reply.ok();
    }
    Ok(())
}

/// CLIENT REPLY ON|OFF|SKIP
pub(crate) fn client_reply(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let mode = words.word(2);
    if mode.eq_ignore_ascii_case(b"on") {
        context.client.replies = Replies::On;
        context.reply.ok();
    } else if mode.eq_ignore_ascii_case(b"off") {
        context.client.replies = Replies::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if context.client.replies != Replies::Off {
            context.client.replies = Replies::SkipNext;
        }
    } else {
        return Err(Fail::text("ERR syntax error"));
    }
    Ok(())
}

/// CLIENT NO-EVICT ON|OFF, CLIENT NO-TOUCH ON|OFF
pub(crate) fn client_switch(context: &mut Context<'_, '_>, id: Id, words: Words<'_>) -> Done {
    let on = arguments::on_or_off(words.word(2))?;
    if id == Id::ClientNoEvict {
        context.client.no_evict = on;
    } else {
        context.client.no_touch = on;
    }
    show(context);
    context.reply.ok();
    Ok(())
}

/// CLIENT UNPAUSE: nobody is ever paused
pub(crate) fn client_unpause(context: &mut Context<'_, '_>) -> Done {
    context.reply.ok();
    Ok(())
}

/// Brings up to date what others see of this connection.
fn show(context: &Context<'_, '_>) {
    let state = &context.client;
    let Some(client) = context.shared.registry.get(state.id) else { return };
    client.update(|shown| {
        shown.name.clone_from(&state.name);
        shown.library_name.clone_from(&state.library_name);
        shown.library_version.clone_from(&state.library_version);
        shown.database = match &state.target {
            Target::Database(number) => number.to_string(),
            Target::Named(name) => name.to_string(),
        };
        shown.resp_version = if state.protocol == Protocol::Resp3 { 3 } else { 2 };
        shown.no_evict = state.no_evict;
        shown.no_touch = state.no_touch;
    });
}
