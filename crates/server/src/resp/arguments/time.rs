//! Times and spans of time as commands give them, made into moments.

use super::ArgumentError;
use super::integer;
use shoal_core::version::Millis;

/// How a command gives a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since the Unix epoch.
    SecondsAt,
    /// Milliseconds since the Unix epoch.
    MillisAt,
}

impl TimeUnit {
    /// `amount` in this unit as milliseconds since the Unix epoch; `None` where they do not fit
    /// 63 bits.
    fn moment(self, amount: i64, now: Millis) -> Option<i64> {
        let millis = match self {
            Self::Seconds | Self::SecondsAt => amount.checked_mul(1000)?,
            Self::Millis | Self::MillisAt => amount,
        };
        match self {
            Self::Seconds | Self::Millis => millis.checked_add_unsigned(now),
            Self::SecondsAt | Self::MillisAt => Some(millis),
        }
    }

    /// When a new value expires: only later than the epoch or than now, as the unit has it.
    pub(super) fn expiry(
        self,
        word: &[u8],
        now: Millis,
        command: &'static str,
    ) -> Result<Millis, ArgumentError> {
        let amount = integer(word)?;
        let refused = ArgumentError::ExpireTime(command);
        if amount <= 0 {
            return Err(refused);
        }
        let moment = self.moment(amount, now).and_then(|moment| moment.try_into().ok());
        moment.ok_or(refused)
    }

    /// When a present value expires: a moment that has passed is allowed, and one before the epoch
    /// is the epoch.
    pub(super) fn new_expiry(
        self,
        word: &[u8],
        now: Millis,
        command: &'static str,
    ) -> Result<Millis, ArgumentError> {
        let amount = integer(word)?;
        let moment = self.moment(amount, now).ok_or(ArgumentError::ExpireTime(command))?;
        Ok(moment.try_into().unwrap_or(0))
    }
}
