//! What is read was written: by a request that a client made, for that key, before the read ended.
//! And it has no later version than its client was told: nothing is stamped anew once it was
//! answered.

use crate::client::{Entry, Kind, Told};

pub(crate) fn judge(history: &[Entry]) -> Result<(), String> {
    for entry in history {
        let Some((answered, Told::Found { value: Some(value), rank })) = &entry.told else {
            continue;
        };
        if entry.request.key().starts_with(b"counter") {
            continue;
        }
        let text = String::from_utf8_lossy(value);
        let serial = text.split(' ').next().and_then(|word| word.parse::<usize>().ok());
        let writer = serial.and_then(|serial| history.get(serial));
        let sound = writer.is_some_and(|writer| {
            writer.touches(entry.request.key())
                && !matches!(writer.request.kind, Kind::Delete | Kind::Read | Kind::Add)
                && writer.asked < *answered
                && writer
                    .told_version(entry.request.key())
                    .is_none_or(|told| rank.is_some_and(|rank| rank.version <= told))
        });
        if !sound {
            return Err(format!(
                "values: {:?} has {text:?}, which nobody wrote so",
                entry.request.key()
            ));
        }
    }
    Ok(())
}
