//! What a data directory keeps so that its node is known again, and so that of two copies of it
//! only one ever is: the tokens of its starts, and before it belongs to a cluster the note under
//! which it asks to be let in.
//!
//! Every start swaps the token that the map has on record for a fresh one. The fresh one is
//! durable here before the swap is asked for, and counts here once it is known to be made. So an
//! older copy presents a token that is on record no more, and of two copies of the same age the
//! first to start wins.
//!
//! Holds: whatever is on record is one of the two tokens kept here. A start that was cut short is
//! brought to its end under the tokens that it had before another token is drawn: two copies of
//! a directory that both repeat it would else be let in under one token.
//!
//! Does not know: how the map is reached.

use shoal_core::NodeId;
use shoal_core::map::{Command, Profile};
use shoal_storage::directory::{DirectoryError, Unowned, read_sealed, remove_file, replace_sealed};
use std::future::Future;
use std::path::{Path, PathBuf};

const FILE: &str = "token";
const TOKEN_MAGIC: [u8; 8] = *b"SHOALtok";
const NOTE_MAGIC: [u8; 8] = *b"SHOALjoi";
/// The form of both files; follows the magic.
const FORM: u8 = 1;

/// The tokens of a node, kept in its directory.
#[derive(Debug)]
pub(crate) struct Tokens {
    directory: PathBuf,
    presented: u64,
    next: Option<u64>,
}

impl Tokens {
    /// What `directory` keeps; `None` where it keeps no tokens, as that of a node that has always
    /// been alone.
    ///
    /// # Errors
    /// [`DirectoryError`]: the file is damaged, or cannot be read.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, DirectoryError> {
        let Some(bytes) = read_sealed(directory, FILE, TOKEN_MAGIC)? else { return Ok(None) };
        let tokens = match bytes.split_first() {
            Some((&FORM, tokens)) if tokens.len() == 16 => tokens,
            Some((&form, _)) if form > FORM => return Err(newer(directory, FILE, form)),
            _ => return Err(damaged(directory, FILE)),
        };
        let token =
            |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (presented, next) = (token(tokens), token(&tokens[8..]));
        if presented == 0 {
            return Err(damaged(directory, FILE));
        }
        let next = (next != 0).then_some(next);
        Ok(Some(Self { directory: directory.to_owned(), presented, next }))
    }

    /// Keeps `presented` from now on, the token that is on record for this directory's node.
    ///
    /// # Errors
    /// [`DirectoryError::Io`].
    pub(crate) fn make(directory: &Path, presented: u64) -> Result<Self, DirectoryError> {
        let tokens = Self { directory: directory.to_owned(), presented, next: None };
        tokens.write()?;
        Ok(tokens)
    }

    /// The token that was on record when that was last known. Links are made under it.
    pub(crate) const fn presented(&self) -> u64 {
        self.presented
    }

    /// Makes `next` durable as the token of this start, before it is asked to be put on record.
    /// A start that was cut short must be [`settled`](Self::settled) first.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: nothing may be asked.
    pub(crate) fn prepare(&mut self, next: u64) -> Result<(), DirectoryError> {
        assert_ne!(next, 0, "zero stands for no token");
        assert!(self.next.is_none_or(|pending| pending == next), "another start is not settled");
        self.next = Some(next);
        self.write()
    }

    /// Notes that what was prepared is on record.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: the start is repeated under the same tokens next time.
    pub(crate) fn settled(&mut self) -> Result<(), DirectoryError> {
        if let Some(next) = self.next.take() {
            self.presented = next;
            self.write()?;
        }
        Ok(())
    }

    /// Puts a start of `node` on record: what was cut short first, then this one. `propose` gives
    /// the command to the map. Afterwards [`presented`](Self::presented) is this start's own.
    ///
    /// # Errors
    /// What `propose` says, or [`DirectoryError`]. It can be called again.
    pub(crate) async fn put_on_record<E, F>(
        &mut self,
        node: NodeId,
        profile: &Profile,
        mut propose: impl FnMut(Command) -> F + Send,
    ) -> Result<(), E>
    where
        E: From<DirectoryError>,
        F: Future<Output = Result<(), E>> + Send,
    {
        let mut command = |presented, next| {
            let profile = Some(profile.clone());
            propose(Command::StartNode { node, presented, next, profile })
        };
        if let Some(next) = self.next {
            command(self.presented, next).await?;
            self.settled()?;
        }
        let next = token_after(self.presented);
        self.prepare(next)?;
        command(self.presented, next).await?;
        self.settled()?;
        Ok(())
    }

    fn write(&self) -> Result<(), DirectoryError> {
        let mut bytes = vec![FORM];
        bytes.extend(self.presented.to_le_bytes());
        bytes.extend(self.next.unwrap_or(0).to_le_bytes());
        replace_sealed(&self.directory, FILE, TOKEN_MAGIC, &bytes)
    }
}

/// What a node keeps in its directory until it is let into a cluster, so that asking again after
/// a crash is asking for the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The name under which it asks.
    pub(crate) name: String,
    /// The token that its first start will present.
    pub(crate) token: u64,
    /// Its number among those that belong to no cluster.
    pub(crate) boot: u64,
    /// Which of those it has promised to join; it promises once.
    pub(crate) promised: Option<u64>,
}

impl Note {
    /// The note in `directory`, or a fresh one, durable. A node that asks under another name than
    /// before asks for something else, and takes another token; its promise stays.
    ///
    /// # Errors
    /// [`DirectoryError`]: the note is damaged, or cannot be read or written.
    pub(crate) fn take(directory: &Path, name: &str) -> Result<Self, DirectoryError> {
        let found = Self::read(directory)?;
        let note = match found.clone() {
            Some(found) if found.name == name => found,
            Some(found) => Self { name: name.to_owned(), token: token_after(0), ..found },
            None => {
                let name = name.to_owned();
                Self { name, token: token_after(0), boot: fresh(), promised: None }
            }
        };
        if found.as_ref() != Some(&note) {
            note.write(directory)?;
        }
        Ok(note)
    }

    /// The note in `directory`, if there is one.
    ///
    /// # Errors
    /// [`DirectoryError`]: the note is damaged, or cannot be read.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, DirectoryError> {
        let Some(bytes) = read_sealed(directory, Unowned::NOTE, NOTE_MAGIC)? else {
            return Ok(None);
        };
        match bytes.split_first() {
            Some((&FORM, rest)) => match Self::parse(rest) {
                Some(note) => Ok(Some(note)),
                None => Err(damaged(directory, Unowned::NOTE)),
            },
            Some((&form, _)) if form > FORM => Err(newer(directory, Unowned::NOTE, form)),
            _ => Err(damaged(directory, Unowned::NOTE)),
        }
    }

    /// Makes a promise durable.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: it must not be given.
    pub(crate) fn promise(&mut self, directory: &Path, to: u64) -> Result<(), DirectoryError> {
        assert!(self.promised.is_none(), "a node promises once");
        let promised = Self { promised: Some(to), ..self.clone() };
        promised.write(directory)?;
        *self = promised;
        Ok(())
    }

    /// Removes the note: the node was let in and keeps everything else in its place.
    ///
    /// # Errors
    /// [`DirectoryError::Io`].
    pub(crate) fn remove(directory: &Path) -> Result<(), DirectoryError> {
        remove_file(directory, Unowned::NOTE)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (token, rest) = bytes.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (promised, name) = rest.split_first_chunk()?;
        let promised = u64::from_le_bytes(*promised);
        Some(Self {
            name: String::from_utf8(name.to_vec()).ok()?,
            token: u64::from_le_bytes(*token),
            boot: u64::from_le_bytes(*boot),
            promised: (promised != 0).then_some(promised),
        })
    }

    fn write(&self, directory: &Path) -> Result<(), DirectoryError> {
        let mut bytes = vec![FORM];
        bytes.extend(self.token.to_le_bytes());
        bytes.extend(self.boot.to_le_bytes());
        bytes.extend(self.promised.unwrap_or(0).to_le_bytes());
        bytes.extend(self.name.as_bytes());
        replace_sealed(directory, Unowned::NOTE, NOTE_MAGIC, &bytes)
    }
}

/// A token of the start after the one of `presented`: the number of the start above, chance below.
///
/// Tokens of one node rise, so that whoever has not heard of the newest start takes it for what it
/// is, and not for an older one. Two copies of a directory draw different ones all the same.
pub(crate) fn token_after(presented: u64) -> u64 {
    let start = ((presented >> START_BITS) + 1).min(u64::from(u32::MAX));
    start << START_BITS | u64::from(fastrand::u32(1..))
}

/// How far up in a token the number of the start is.
const START_BITS: u32 = 32;

/// A number that nobody has drawn before. It is no secret.
pub(crate) fn fresh() -> u64 {
    fastrand::u64(1..)
}

fn damaged(directory: &Path, file: &str) -> DirectoryError {
    let what = "it does not hold what it should".to_owned();
    DirectoryError::Damaged { path: directory.join(file), what }
}

fn newer(directory: &Path, file: &str, form: u8) -> DirectoryError {
    let (found, known) = (u32::from(form), u32::from(FORM));
    DirectoryError::Newer { path: directory.join(file), found, known }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use shoal_core::ids::ClusterId;
    use shoal_core::map::{ClusterMap, EngineKind, KeyspaceSpec, MapError};

    const N1: NodeId = NodeId(1);

    /// The map of a cluster of one whose token on record is `token`.
    fn founded(token: u64) -> Mutex<ClusterMap> {
        let found = Command::Found {
            cluster: ClusterId(7),
            node_name: "n1".to_owned(),
            token,
            hash_seed: 1,
            default: KeyspaceSpec::new(EngineKind::Disk),
            profile: Profile::default(),
        };
        Mutex::new(ClusterMap::default().apply(&found).expect("it is founded"))
    }

    #[derive(Debug)]
    enum Failed {
        Map(MapError),
        Lost,
        Directory,
    }

    impl From<DirectoryError> for Failed {
        fn from(_: DirectoryError) -> Self {
            Self::Directory
        }
    }

    /// One start of the node in `directory`; `lost` loses the answer.
    async fn start(map: &Mutex<ClusterMap>, directory: &Path, lost: bool) -> Result<u64, Failed> {
        let mut tokens = Tokens::read(directory).expect("it can be read").expect("it is there");
        let propose = |command: Command| {
            let mut map = map.lock();
            let applied = map.apply(&command).map(|next| *map = next).map_err(Failed::Map);
            std::future::ready(applied.and(if lost { Err(Failed::Lost) } else { Ok(()) }))
        };
        tokens.put_on_record(N1, &Profile::default(), propose).await?;
        Ok(tokens.presented())
    }

    fn copy(from: &Path) -> tempfile::TempDir {
        let to = tempfile::tempdir().expect("a folder");
        std::fs::copy(from.join(FILE), to.path().join(FILE)).expect("it is copied");
        to
    }

    fn on_record(map: &Mutex<ClusterMap>) -> u64 {
        map.lock().nodes[&N1].token
    }

    #[test]
    fn tokens_rise_with_every_start() {
        let first = token_after(0);
        let (second, other) = (token_after(first), token_after(first));
        assert!(first != 0 && second > first && other > first);
        assert!(token_after(second.max(other)) > second.max(other));
        assert_ne!(token_after(u64::MAX), 0, "there is a token, whatever came before");
    }

    #[tokio::test]
    async fn every_start_swaps_the_token_and_a_copy_is_stale() {
        let (map, temp) = (founded(5), tempfile::tempdir().expect("a folder"));
        assert!(Tokens::read(temp.path()).expect("it can be read").is_none());
        Tokens::make(temp.path(), 5).expect("it can be written");
        let old = copy(temp.path());
        let first = start(&map, temp.path(), false).await.expect("it starts");
        assert_eq!(on_record(&map), first);
        let second = start(&map, temp.path(), false).await.expect("it starts again");
        assert_ne!(first, second);
        let refused = start(&map, old.path(), false).await;
        assert!(matches!(refused, Err(Failed::Map(MapError::StaleDirectory { node: N1 }))));
        assert_eq!(on_record(&map), second, "the copy changed nothing");
    }

    #[tokio::test]
    async fn a_start_that_was_cut_short_is_repeated_and_of_two_copies_one_wins() {
        let (map, temp) = (founded(5), tempfile::tempdir().expect("a folder"));
        Tokens::make(temp.path(), 5).expect("it can be written");
        assert!(matches!(start(&map, temp.path(), true).await, Err(Failed::Lost)));
        let tokens = Tokens::read(temp.path()).expect("it can be read").expect("it is there");
        assert_eq!((tokens.presented(), tokens.next), (5, Some(on_record(&map))));
        let twin = copy(temp.path());
        let won = start(&map, temp.path(), false).await.expect("it starts");
        assert_eq!(on_record(&map), won);
        assert!(matches!(start(&map, twin.path(), false).await, Err(Failed::Map(_))));
        assert_eq!(on_record(&map), won);
    }

    #[test]
    fn damage_is_refused_by_name() {
        let temp = tempfile::tempdir().expect("a folder");
        let code = |path: &Path| Tokens::read(path).expect_err("it is refused").code();
        for (bytes, why) in [
            (&[1, 0][..], "directory_damaged"),
            (&[1; 18], "directory_damaged"),
            (&[0; 17], "directory_damaged"),
            (&[], "directory_damaged"),
            (&[9, 0], "directory_newer"),
        ] {
            replace_sealed(temp.path(), FILE, TOKEN_MAGIC, bytes).expect("it is written");
            assert_eq!(code(temp.path()), why, "{bytes:?}");
            replace_sealed(temp.path(), Unowned::NOTE, NOTE_MAGIC, bytes).expect("it is written");
            if why == "directory_newer" {
                assert_eq!(Note::read(temp.path()).expect_err("it is refused").code(), why);
            }
        }
        std::fs::write(temp.path().join(FILE), b"SHOALtok").expect("it is written");
        assert_eq!(code(temp.path()), "directory_damaged");
    }

    #[test]
    fn the_note_is_the_same_after_a_crash_and_another_for_another_name() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut first = Note::take(temp.path(), "n2").expect("it is made");
        assert_eq!(Note::take(temp.path(), "n2").expect("it is read"), first);
        first.promise(temp.path(), 77).expect("it is written");
        let other = Note::take(temp.path(), "n3").expect("it is made");
        assert_ne!(other.token, first.token);
        assert_eq!((other.boot, other.promised), (first.boot, Some(77)));
        assert_eq!(Note::read(temp.path()).expect("it is read"), Some(other));
        Note::remove(temp.path()).expect("it is removed");
        assert_eq!(Note::read(temp.path()).expect("it is read"), None);
    }
}
