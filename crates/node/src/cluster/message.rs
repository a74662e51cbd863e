//! What nodes say to each other about membership: the bodies of [`Kind::Control`] messages.
//!
//! A message is the version of this form (one byte) and the message itself in postcard. What is
//! not understood is refused and never guessed at: a node of a newer form is told apart from
//! damage.
//!
//! Holds: no input makes reading panic, and nothing is left over behind a message.
//!
//! Does not know: who says it, or what comes of it.
//!
//! [`Kind::Control`]: crate::transport::Kind::Control

use super::condition::Said;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shoal_core::map::{Addresses, Profile};
use std::collections::BTreeMap;

/// The version of this form.
const FORM: u8 = 1;

/// What a node asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// To be let in. Asking twice under one name and token is the same as once.
    Join(Join),
    /// To take note of what the copies of the asker have to tell the leader of the map.
    Report(Vec<u8>),
    /// To act under a map of at least this version, and to say so once it does.
    Adopt {
        /// Its generation.
        generation: u32,
        /// Its index.
        index: u64,
    },
    /// Whether anybody is there.
    Ping,
    /// Who else belongs to no cluster yet.
    Expect(Homeless),
    /// To take note of how the asker is, and to say how the others are.
    Condition(Said),
    /// Whether a node may be replaced, as the leader of the map sees it.
    Replace {
        /// Its id.
        node: u32,
    },
    /// To look for the asker at this address from now on: it was started elsewhere, and the map
    /// does not say so yet.
    Moved {
        /// Where other nodes reach it.
        peer: String,
    },
}

/// A node that wants to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    /// What it is called.
    pub(crate) name: String,
    /// The token that its first start will present.
    pub(crate) token: u64,
    /// What it says about itself.
    #[serde(with = "ProfileForm")]
    pub(crate) profile: Profile,
    /// Whether it takes the place of the node that has its name.
    pub(crate) replace: bool,
}

/// A node that belongs to no cluster and waits until there are enough like it to found one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Homeless {
    /// Its number, drawn at random once for its directory.
    pub(crate) boot: u64,
    /// How many it waits for, itself among them.
    pub(crate) nodes: u16,
    /// The numbers of all such nodes that it has heard of.
    pub(crate) known: Vec<u64>,
    /// The one that it has promised to join.
    pub(crate) promised: Option<u64>,
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is let in, or was before.
    Joined {
        /// The cluster.
        cluster: u128,
        /// Its id from now on.
        node: u32,
        /// Its token, as it is on record.
        token: u64,
        /// The map, encoded by [`shoal_core::codec::map`].
        map: Vec<u8>,
    },
    /// It was heard.
    Heard,
    /// Not now: asking again may help.
    Busy {
        /// Why, for people.
        why: String,
    },
    /// No, and asking again does not help.
    Refused {
        /// A stable word for the reason.
        code: String,
        /// The reason, for people.
        message: String,
    },
    /// The one who was asked belongs to no cluster either, and waits for others.
    Homeless(Homeless),
    /// How everybody is who said so.
    Conditions(Vec<Said>),
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// Its form is not known here.
    #[error("it is of form {0}, and only form {FORM} is known here")]
    Form(u8),
    /// It is damaged or cut short, or something follows it.
    #[error("it is damaged")]
    Damaged,
}

impl Request {
    /// The bytes of the request.
    pub(crate) fn encode(&self) -> Bytes {
        encode(self)
    }

    /// The request that `bytes` are.
    ///
    /// # Errors
    /// [`MessageError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        decode(bytes)
    }
}

impl Answer {
    /// The bytes of the answer.
    pub(crate) fn encode(&self) -> Bytes {
        encode(self)
    }

    /// The answer that `bytes` are.
    ///
    /// # Errors
    /// [`MessageError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        decode(bytes)
    }
}

fn encode(message: &impl Serialize) -> Bytes {
    postcard::to_extend(message, vec![FORM])
        .expect("memory takes any bytes, and all lengths are known")
        .into()
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, MessageError> {
    match bytes.split_first() {
        Some((&FORM, rest)) => match postcard::take_from_bytes(rest) {
            Ok((message, [])) => Ok(message),
            _ => Err(MessageError::Damaged),
        },
        Some((form, _)) => Err(MessageError::Form(*form)),
        None => Err(MessageError::Damaged),
    }
}

/// How a [`Profile`] is written; the core knows of no bytes.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Profile")]
struct ProfileForm {
    zone: Option<String>,
    weight: u16,
    tags: BTreeMap<String, String>,
    #[serde(with = "AddressesForm")]
    addresses: Addresses,
}

/// How [`Addresses`] are written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Addresses")]
struct AddressesForm {
    peer: Option<String>,
    client: Option<String>,
    cluster_client: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    fn profile() -> impl Strategy<Value = Profile> {
        let text = || proptest::option::of(".{0,20}");
        let addresses = (text(), text(), text())
            .prop_map(|(peer, client, cluster_client)| Addresses { peer, client, cluster_client });
        (text(), any::<u16>(), btree_map(".{0,9}", ".{0,9}", 0..4), addresses)
            .prop_map(|(zone, weight, tags, addresses)| Profile { zone, weight, tags, addresses })
    }

    fn homeless() -> impl Strategy<Value = Homeless> {
        let promised = proptest::option::of(any::<u64>());
        (any::<u64>(), any::<u16>(), vec(any::<u64>(), 0..5), promised)
            .prop_map(|(boot, nodes, known, promised)| Homeless { boot, nodes, known, promised })
    }

    fn request() -> impl Strategy<Value = Request> {
        let join = (".{0,70}", any::<u64>(), profile(), any::<bool>()).prop_map(
            |(name, token, profile, replace)| Request::Join(Join { name, token, profile, replace }),
        );
        prop_oneof![
            join,
            vec(any::<u8>(), 0..50).prop_map(Request::Report),
            (any::<u32>(), any::<u64>())
                .prop_map(|(generation, index)| Request::Adopt { generation, index }),
            Just(Request::Ping),
            homeless().prop_map(Request::Expect),
            any::<u32>().prop_map(|node| Request::Replace { node }),
        ]
    }

    fn answer() -> impl Strategy<Value = Answer> {
        let bytes = || vec(any::<u8>(), 0..50);
        let joined = (any::<u128>(), any::<u32>(), any::<u64>(), bytes())
            .prop_map(|(cluster, node, token, map)| Answer::Joined { cluster, node, token, map });
        let refused =
            (".{0,9}", ".{0,30}").prop_map(|(code, message)| Answer::Refused { code, message });
        prop_oneof![
            joined,
            Just(Answer::Heard),
            ".{0,30}".prop_map(|why| Answer::Busy { why }),
            refused,
            homeless().prop_map(Answer::Homeless),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(request in request(), answer in answer()) {
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            prop_assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in vec(any::<u8>(), 0..200)) {
            let known: Vec<u8> = [&[FORM], bytes.as_slice()].concat();
            for bytes in [&bytes, &known] {
                let _ = (Request::decode(bytes), Answer::decode(bytes));
            }
        }

        #[test]
        fn what_is_cut_or_followed_is_refused(request in request(), at in any::<prop::sample::Index>()) {
            let whole = request.encode();
            let cut = &whole[..at.index(whole.len())];
            prop_assert_eq!(Request::decode(cut), Err(MessageError::Damaged));
            let longer = [&whole, &[0][..]].concat();
            prop_assert_eq!(Request::decode(&longer), Err(MessageError::Damaged));
        }
    }

    #[test]
    fn another_form_is_named() {
        let mut bytes = Request::Ping.encode().to_vec();
        bytes[0] = 2;
        assert_eq!(Request::decode(&bytes), Err(MessageError::Form(2)));
        assert_eq!(Request::decode(&[]), Err(MessageError::Damaged));
    }

    /// Older nodes must go on understanding: the bytes of one message of each kind.
    #[test]
    fn the_bytes_stay_as_they_are() {
        let join =
            Join { name: "n2".to_owned(), token: 300, profile: Profile::default(), replace: true };
        let encoded = Request::Join(join).encode();
        assert_eq!(&encoded[..], [1, 0, 2, b'n', b'2', 172, 2, 0, 100, 0, 0, 0, 0, 1]);
        let refused = Answer::Refused { code: "c".to_owned(), message: "m".to_owned() };
        assert_eq!(&refused.encode()[..], [1, 3, 1, b'c', 1, b'm']);
        assert_eq!(&Request::Ping.encode()[..], [1, 3]);
        assert_eq!(&Request::Replace { node: 300 }.encode()[..], [1, 6, 172, 2]);
    }
}
