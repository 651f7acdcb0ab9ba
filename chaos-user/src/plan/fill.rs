//! How full, and how much is missing to that. Pure.

use std::fmt;

use crate::experiment::{Bytes, Percent};

/// How full a filesystem is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillLevel {
    /// This share of what `df` shows as used and available is used.
    Share(Percent),
    /// So much is left available.
    Leave(Bytes),
}

impl fmt::Display for FillLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "to {share}"),
            Self::Leave(bytes) => write!(f, "until {bytes} are left"),
        }
    }
}

/// What a filesystem says about its room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Used by anybody.
    pub used: u64,
    /// Available to all users; some filesystems keep more for root.
    pub available: u64,
    /// The size of its blocks.
    pub block: u64,
}

impl Room {
    /// What has to be taken to reach the level.
    pub fn missing(&self, level: FillLevel) -> u64 {
        match level {
            FillLevel::Share(share) => {
                let all = u128::from(self.used) + u128::from(self.available);
                let wanted = all * u128::from(share.ppb()) / u128::from(Percent::ALL.ppb());
                let missing = wanted.saturating_sub(u128::from(self.used));
                u64::try_from(missing).unwrap_or(u64::MAX).min(self.available)
            }
            FillLevel::Leave(bytes) => self.available.saturating_sub(bytes.get()),
        }
    }

    /// The share of it that is used, as `df` shows it.
    pub fn percent_used(&self) -> f64 {
        let all = self.used as f64 + self.available as f64;
        if all == 0.0 { 100.0 } else { 100.0 * self.used as f64 / all }
    }
}

impl FillLevel {
    /// Whether nothing at all is to be left.
    pub fn is_full(self) -> bool {
        matches!(self, Self::Share(share) if share == Percent::ALL)
            || matches!(self, Self::Leave(bytes) if bytes.get() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_what_df_would_show() {
        let room = Room { used: 200, available: 800, block: 1 };
        let share = |text: &str| FillLevel::Share(text.parse().unwrap());
        assert_eq!(room.missing(share("100%")), 800);
        assert_eq!(room.missing(share("50%")), 300);
        assert_eq!(room.missing(share("20%")), 0);
        assert_eq!(room.missing(share("1%")), 0);
        assert_eq!(room.missing(FillLevel::Leave(Bytes::new(100))), 700);
        assert_eq!(room.missing(FillLevel::Leave(Bytes::new(900))), 0);
        let huge = Room { used: u64::MAX, available: u64::MAX, block: 1 };
        assert_eq!(huge.missing(share("100%")), u64::MAX);
        assert!((room.percent_used() - 20.0).abs() < 1e-9);
        assert!(share("100%").is_full() && !share("99%").is_full());
        assert!(FillLevel::Leave(Bytes::new(0)).is_full());
    }
}
