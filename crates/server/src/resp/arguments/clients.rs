//! Arguments of the commands about connections.

use super::error::shown;
use super::{ArgumentError, integer, is};
use crate::resp::integer as decimal;
use crate::resp::reply::Protocol;
use crate::resp::words::Words;

/// What HELLO is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The protocol to speak from here on; `None` leaves it.
    pub protocol: Option<Protocol>,
    /// User and password.
    pub credentials: Option<(&'a [u8], &'a [u8])>,
}

/// What HELLO is told. Who may come in is for `is_user` to say, since Redis asks before it reads on.
/// `named` takes the connection's name as soon as it is read: an error after it leaves it in force.
///
/// # Errors
/// [`ArgumentError`] in Redis' order.
pub fn hello<'a>(
    words: Words<'a>,
    is_user: impl Fn(&[u8]) -> bool,
    named: &mut Option<String>,
) -> Result<Hello<'a>, ArgumentError> {
    let mut hello = Hello::default();
    if let Some(version) = words.get(1) {
        hello.protocol = Some(match decimal::parse(version) {
            None => return Err(ArgumentError::ProtocolVersion),
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(ArgumentError::UnsupportedProtocol),
        });
    }
    let mut at = 2;
    while let Some(option) = words.get(at) {
        let left = words.len() - at - 1;
        if is(option, "auth") && left >= 2 {
            if !is_user(words.word(at + 1)) {
                return Err(ArgumentError::WrongPassword);
            }
            hello.credentials = Some((words.word(at + 1), words.word(at + 2)));
            at += 3;
        } else if is(option, "setname") && left >= 1 {
            *named = Some(client_name(words.word(at + 1))?);
            at += 2;
        } else {
            return Err(ArgumentError::HelloOption(shown(option)));
        }
    }
    Ok(hello)
}

/// A connection's name; the empty one takes the name away.
///
/// # Errors
/// [`ArgumentError::ClientName`].
pub fn client_name(word: &[u8]) -> Result<String, ArgumentError> {
    plain(word).ok_or(ArgumentError::ClientName)
}

/// A text that may stand in a line of CLIENT LIST: printable ASCII without blanks.
fn plain(word: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(word).ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| text.to_owned())
}

/// What CLIENT SETINFO sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientInfoField {
    /// The name of the client's library.
    LibraryName,
    /// Its version.
    LibraryVersion,
}

/// What CLIENT SETINFO sets, and to what.
///
/// # Errors
/// [`ArgumentError::ClientInfoOption`] or [`ArgumentError::ClientInfo`].
pub fn client_setinfo(words: Words<'_>) -> Result<(ClientInfoField, String), ArgumentError> {
    let option = words.word(2);
    let field = if is(option, "lib-name") {
        ClientInfoField::LibraryName
    } else if is(option, "lib-ver") {
        ClientInfoField::LibraryVersion
    } else {
        return Err(ArgumentError::ClientInfoOption(shown(option)));
    };
    let value = plain(words.word(3)).ok_or_else(|| ArgumentError::ClientInfo(shown(option)))?;
    Ok((field, value))
}

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// One that sends commands.
    Normal,
    /// One that this server replicates from.
    Master,
    /// One that replicates from this server.
    Replica,
    /// One that listens to channels.
    Pubsub,
}

impl ClientKind {
    fn parse(word: &[u8]) -> Result<Self, ArgumentError> {
        if is(word, "normal") {
            Ok(Self::Normal)
        } else if is(word, "master") {
            Ok(Self::Master)
        } else if is(word, "slave") || is(word, "replica") {
            Ok(Self::Replica)
        } else if is(word, "pubsub") {
            Ok(Self::Pubsub)
        } else {
            Err(ArgumentError::ClientType(shown(word)))
        }
    }
}

/// Which connections CLIENT LIST shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFilter {
    /// All.
    All,
    /// Those that send commands.
    Normal,
    /// None: kinds that there are none of.
    None,
    /// Those of these numbers.
    Ids(Vec<u64>),
}

/// Which connections CLIENT LIST shows.
///
/// # Errors
/// [`ArgumentError`].
pub fn client_list(words: Words<'_>) -> Result<ClientFilter, ArgumentError> {
    match words.get(2) {
        None => Ok(ClientFilter::All),
        Some(option) if is(option, "type") && words.len() == 4 => {
            Ok(match ClientKind::parse(words.word(3))? {
                ClientKind::Normal => ClientFilter::Normal,
                ClientKind::Master | ClientKind::Replica | ClientKind::Pubsub => ClientFilter::None,
            })
        }
        Some(option) if is(option, "id") && words.len() > 3 => {
            let ids = words.from(3).iter().map(|word| {
                let id = decimal::parse(word).ok_or(ArgumentError::ListedClientId)?;
                // A negative number is a number, but no connection's.
                Ok(u64::try_from(id).unwrap_or(0))
            });
            ids.collect::<Result<_, _>>().map(ClientFilter::Ids)
        }
        Some(_) => Err(ArgumentError::Syntax),
    }
}

/// Which connections CLIENT KILL closes: those that meet all conditions given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKill {
    /// The connection's number.
    pub id: Option<u64>,
    /// The client's address.
    pub address: Option<String>,
    /// The server's address that it came to.
    pub local_address: Option<String>,
    /// The user it has authenticated as.
    pub user: Option<String>,
    /// The kind of client.
    pub kind: Option<ClientKind>,
    /// Whether the connection that asks is spared.
    pub skip_me: bool,
    /// Whether it was asked in the old form, an address alone, which is answered otherwise: OK, or
    /// an error if there is none.
    pub old_form: bool,
}

/// Which connections CLIENT KILL closes. Whether there is such a user is for the caller to say.
///
/// # Errors
/// [`ArgumentError`].
pub fn client_kill(words: Words<'_>) -> Result<ClientKill, ArgumentError> {
    let mut kill = ClientKill {
        id: None,
        address: None,
        local_address: None,
        user: None,
        kind: None,
        skip_me: true,
        old_form: false,
    };
    let text = |word: &[u8]| Some(String::from_utf8_lossy(word).into_owned());
    if words.len() == 3 {
        return Ok(ClientKill {
            address: text(words.word(2)),
            skip_me: false,
            old_form: true,
            ..kill
        });
    }
    let mut rest = words.from(2).iter();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or(ArgumentError::Syntax)?;
        if is(option, "id") {
            let id = integer(value).ok().filter(|id| *id > 0);
            let id = id.and_then(|id| u64::try_from(id).ok());
            kill.id = Some(id.ok_or(ArgumentError::ClientId)?);
        } else if is(option, "type") {
            kill.kind = Some(ClientKind::parse(value)?);
        } else if is(option, "addr") {
            kill.address = text(value);
        } else if is(option, "laddr") {
            kill.local_address = text(value);
        } else if is(option, "user") {
            kill.user = text(value);
        } else if is(option, "skipme") && is(value, "yes") {
            kill.skip_me = true;
        } else if is(option, "skipme") && is(value, "no") {
            kill.skip_me = false;
        } else {
            return Err(ArgumentError::Syntax);
        }
    }
    Ok(kill)
}
