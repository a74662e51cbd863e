//! Every message comes back as it was sent; every string of bytes is a message or refused.

use super::*;
use crate::clock::Stamp;
use crate::ids::{Incarnation, MapVersion};
use crate::quorum::Header;
use crate::record::{OwnedBody, OwnedRecord};
use crate::slot::Slot;
use crate::version::{MAX_WALL_MS, Version};
use proptest::prelude::*;

fn version() -> impl Strategy<Value = Version> {
    (0..=MAX_WALL_MS, any::<u16>(), any::<u32>()).prop_map(|(wall_ms, counter, node)| Version {
        wall_ms,
        counter,
        node: NodeId(node),
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn when() -> impl Strategy<Value = OwnedWhen> {
    let tag = || (version(), version()).prop_map(|(version, written)| Tag { version, written });
    let tags = || prop::collection::vec(tag(), 0..4);
    prop_oneof![
        Just(OwnedWhen::Always),
        Just(OwnedWhen::Absent),
        Just(OwnedWhen::Present),
        tags().prop_map(OwnedWhen::TagIn),
        tags().prop_map(OwnedWhen::TagNotIn),
    ]
}

fn update() -> impl Strategy<Value = OwnedUpdate> {
    let expiry = prop_oneof![
        Just(SetExpiry::Never),
        Just(SetExpiry::Forever),
        Just(SetExpiry::Keep),
        any::<u64>().prop_map(SetExpiry::At),
    ];
    let conditions = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        (bytes(), expiry, when()).prop_map(|(value, expiry, when)| OwnedUpdate::Set {
            value,
            expiry,
            when
        }),
        when().prop_map(|when| OwnedUpdate::Delete { when }),
        bytes().prop_map(|suffix| OwnedUpdate::Append { suffix }),
        (any::<u64>(), bytes()).prop_map(|(offset, bytes)| OwnedUpdate::SetRange { offset, bytes }),
        any::<i64>().prop_map(|delta| OwnedUpdate::Add { delta }),
        bytes().prop_map(|delta| OwnedUpdate::AddFloat { delta }),
        (any::<u64>(), conditions).prop_map(|(at, (none, some, later, earlier))| {
            OwnedUpdate::Expire { at, when: ExpireWhen { none, some, later, earlier } }
        }),
        Just(OwnedUpdate::Persist),
    ]
}

fn forward() -> impl Strategy<Value = Forward> {
    let header = (any::<u32>(), 0..16_384_u16, any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
        |(keyspace, slot, generation, index, clock)| Header {
            keyspace: Incarnation(keyspace),
            slot: Slot::new(slot).expect("below the last"),
            epoch: MapVersion { generation, index },
            clock: Stamp(clock),
        },
    );
    let level = prop_oneof![Just(Level::One), Just(Level::Quorum), Just(Level::All)];
    (header, level, bytes(), update(), any::<(bool, Option<u64>)>()).prop_map(
        |(header, level, key, update, (look, event_time))| Forward {
            header,
            level,
            key,
            update,
            look,
            event_time,
        },
    )
}

fn forwarded() -> impl Strategy<Value = Forwarded> {
    let outcome = prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Unmet),
        any::<u64>().prop_map(Outcome::Length),
        any::<i64>().prop_map(Outcome::Integer),
        "[0-9.e-]{0,20}".prop_map(Outcome::Float),
    ];
    let record = (version(), any::<Option<u64>>(), bytes()).prop_map(|(at, expires_at, bytes)| {
        let body = OwnedBody::Live { kind: 0, bytes };
        OwnedRecord { version: at, written: at, expires_at, body }
    });
    let error = prop_oneof![
        Just(UpdateError::NotInteger),
        Just(UpdateError::Overflow),
        Just(UpdateError::NotFloat),
        Just(UpdateError::NotFinite),
        Just(UpdateError::TooLong),
    ];
    let nodes = prop::collection::vec(any::<u32>().prop_map(NodeId), 0..7);
    prop_oneof![
        (outcome, prop::option::of(record), prop::option::of(version()))
            .prop_map(|(outcome, before, version)| Forwarded::Done { outcome, before, version }),
        error.prop_map(Forwarded::Impossible),
        Just(Forwarded::Conflict),
        (0..9_usize, 0..9_usize, nodes).prop_map(|(have, need, unreachable)| {
            Forwarded::NoQuorum(NoQuorum { have, need, unreachable })
        }),
        version().prop_map(|version| Forwarded::Unknown { version }),
        Just(Forwarded::Elsewhere),
        Just(Forwarded::Full(Full::Memory)),
        Just(Forwarded::Full(Full::Disk)),
    ]
}

proptest! {
    #[test]
    fn questions_come_back_as_they_were_sent(forward in forward()) {
        let mut out = Vec::new();
        write_forward(&forward, &mut out);
        prop_assert_eq!(read_forward(&Bytes::from(out)), Ok(forward));
    }

    #[test]
    fn answers_come_back_as_they_were_sent(forwarded in forwarded()) {
        let mut out = Vec::new();
        write_forwarded(&forwarded, &mut out);
        prop_assert_eq!(read_forwarded(&Bytes::from(out)), Ok(forwarded));
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused(
        forward in forward(),
        forwarded in forwarded(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut question, mut answer) = (Vec::new(), Vec::new());
        write_forward(&forward, &mut question);
        write_forwarded(&forwarded, &mut answer);
        let short = |bytes: &[u8]| Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())]);
        prop_assert!(read_forward(&short(&question)).is_err());
        prop_assert!(read_forwarded(&short(&answer)).is_err());
        question.push(0);
        answer.push(0);
        prop_assert!(read_forward(&Bytes::from(question)).is_err());
        prop_assert!(read_forwarded(&Bytes::from(answer)).is_err());
    }

    #[test]
    fn any_bytes_are_one_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let bytes = Bytes::from(bytes);
        if let Ok(forward) = read_forward(&bytes) {
            let mut out = Vec::new();
            write_forward(&forward, &mut out);
            prop_assert_eq!(&out, &bytes);
        }
        if let Ok(forwarded) = read_forwarded(&bytes) {
            let mut out = Vec::new();
            write_forwarded(&forwarded, &mut out);
            prop_assert_eq!(&out, &bytes);
        }
    }
}

#[test]
fn an_update_borrowed_and_owned_again_is_the_same() {
    let tags = [Tag::plain(Version::ZERO)];
    let update = crate::update::Update::Set {
        value: b"v",
        expiry: SetExpiry::At(5),
        when: crate::update::When::TagIn(&tags),
    };
    let owned = OwnedUpdate::from(&update);
    assert_eq!(owned.borrow(), update);
    assert_eq!(OwnedUpdate::from(&owned.borrow()), owned);
}
